//! The data plane: from the service model to what the kernel holds.
//!
//! ```text
//! services::Snapshot ─► forwarding_table (pure) ─► reconcile ─► nftables (netlink) ─► kernel
//!                                                      └─► conntrack: UDP flows to endpoints that left
//! ```
//!
//! [`forwarding_table`] says what must be true on one node, in no kernel's terms; everything after it does I/O and
//! is synchronous, on the thread and in the network namespace that the caller chose. Nothing here reads the API,
//! and nothing touches a table that is not ours.

pub mod conntrack;
pub mod forwarding_table;
mod netlink;
pub mod nftables;
pub mod reconcile;

pub use netlink::{Call, Error as NetlinkError, Faults};
