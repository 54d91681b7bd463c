//! A Node as the model keeps it.

use std::net::IpAddr;
use std::sync::Arc;

/// What forwarding needs to know of a Node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `InternalIP` addresses, in the object's order.
    pub addresses: Vec<IpAddr>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Arc<str>>,
    /// `spec.podCIDRs` as written.
    pub pod_cidrs: Vec<ipnet::IpNet>,
}
