//! Cluster DNS: the service model in, answers on the wire out.
//!
//! ```text
//! services::Snapshot + Changes ─► zone (immutable, published as Arc) ─► answer (bytes in, bytes out) ─► server (UDP, TCP)
//!                                                                          └─ not ours ─► forward ─► upstream resolvers
//! ```
//! [`zone`] and [`answer`] are pure: no I/O, no clock, no lock, and `answer` allocates nothing. [`server`] owns the
//! sockets and the threads, [`forward`] asks others. The crate reads no Kubernetes API and knows no namespaces: sockets
//! may be made elsewhere and handed in.
//!
//! The contract is the Kubernetes DNS specification 1.1.0 with what CoreDNS adds to it.

pub mod answer;
pub mod forward;
pub mod lookup;
pub mod message;
pub mod name;
pub mod relay;
pub mod resolv_conf;
pub mod server;
pub mod zone;
