//! Worker nodes of the embedded cluster: network namespaces, containers, and the part of a kubelet.
//!
//! A node is a process in a network namespace of its own. [`network`] builds the wire between nodes, the node's
//! addresses and each pod's veth pair; [`userns`] makes all that possible for an ordinary user. The crate speaks
//! to the API as any client would and never touches the host's own interfaces, routes or tables.

pub mod namespace;
pub mod network;
pub mod userns;
