//! The nftables plane: our one table per IP family, told and read over netlink.
//!
//! ```text
//! affinity   names of what remembers clients
//! rules      what the chains do, one function for each question
//! set        the sets and maps that the rules look into
//! message    tables, chains, rules, sets as netlink messages; element: what is in the sets
//! number     what the map of service ports holds instead of verdicts
//! counter    how many connections each service port had
//! readback   the table as the kernel holds it, into a State
//! state      what we believe the kernel holds; plan: from there to a forwarding table
//! ```
//!
//! The shape is flat: a change is a change of map elements. A rule exists only for each *number* of endpoints that
//! some Service has, and for the endpoints of Services with session affinity. Both families have the same shape, described once by a `Family`, and a table each: a set cannot
//! hold both, and a kernel without one serves the other. A family's table is made when there is something for it to
//! hold (a frontend, a service subnet, an answered port), and then stays. Nothing here decides when to write: that is [`crate::reconcile`]'s.

mod affinity;
mod counter;
mod element;
mod expression;
mod family;
mod message;
mod number;
mod numbering;
mod plan;
mod probe;
mod readback;
mod rules;
mod set;
mod state;
mod transaction;

#[cfg(test)]
mod tests;

pub(crate) use family::{Family, IPV4, IPV6};
pub(crate) use message::{Layout, NEWGEN, SUBSYSTEM};
pub(crate) use plan::Plan;
pub use probe::{Capabilities, Feature, cleanup, probe};
pub(crate) use probe::{can_own, can_refuse_early};
pub(crate) use readback::{connections, read, take_over};
pub(crate) use set::{CHAINS, SERVICES};
pub(crate) use state::{State, lines};
pub(crate) use transaction::{Sent, carry_out};

/// The name of our table, in every family.
pub const TABLE: &str = "sluice";
