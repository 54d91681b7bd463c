//! The data plane: from the service model to what the kernel holds.
//!
//! ```text
//! services::Snapshot ─► forwarding_table (pure) ─► reconcile ─► nftables (netlink) ─► kernel
//!                                                      └─► conntrack: UDP flows to endpoints that left
//! ```
//!
//! One node's loop, on a thread in its network namespace, once Services and EndpointSlices have both been listed:
//!
//! ```no_run
//! use dataplane::conntrack::{Sweep, Sweeper};
//! use dataplane::forwarding_table::{ForwardingTable, NodeFacts};
//! use dataplane::reconcile::Reconciler;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let (mut model, sweeper) = (services::Model::new(), Sweeper::new());
//! let facts = NodeFacts::new("worker-1", ["10.96.0.0/16".parse()?]).answering_dns("10.96.0.10".parse()?);
//! let mut table = ForwardingTable::new(facts);
//! let mut plane = Reconciler::open()?;
//! loop {
//!     let touched = table.update(&model.snapshot(), &model.take_changes());
//!     let synced = plane.sync(&table, &touched)?;
//!     sweeper.push(Sweep::new(&table, &synced.stale));
//!     # break;
//!     // wait for the next change of the model
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`forwarding_table`] says what must be true on one node, in no kernel's terms; everything after it does I/O and
//! is synchronous, on the thread and in the network namespace that the caller chose. Nothing here reads the API,
//! and nothing touches a table that is not ours.

pub mod conntrack;
pub mod forwarding_table;
#[doc(hidden)]
pub mod fuzzing;
mod netlink;
pub mod nftables;
pub mod packet_trace;
pub mod reconcile;
pub mod table_elements;

pub use netlink::{Call, Error as NetlinkError, Faults, Wire};
