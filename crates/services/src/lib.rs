//! The service model: Services, EndpointSlices, Nodes and Namespaces in, an immutable [`Snapshot`] and the set of
//! changed keys out.
//!
//! Everything downstream (forwarding table, DNS zone, `sluice dump services`) is computed from a snapshot and the
//! [`Changes`] since the one before. This crate does no I/O, knows no clock and no async runtime; the order in which
//! objects arrive never matters: a slice may come before its Service, a Service before its Node.

mod endpoint;
mod index;
mod intern;
mod model;
mod name;
mod node;
mod read;
mod service;
mod snapshot;
mod text;

#[cfg(test)]
mod tests;

pub use endpoint::{Endpoint, EndpointIter, Endpoints, Slice, SlicePort};
pub use index::{Index, Probe, Record};
pub use model::{Detail, Model};
pub use name::{Protocol, ServiceName};
pub use node::Node;
pub use read::Skipped;
pub use service::{Exposure, Outside, Service, ServicePort, TrafficPolicy};
pub use snapshot::{Changes, ServiceState, Services, Slices, Snapshot};
