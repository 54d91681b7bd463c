//! EndpointSlices as the model keeps them: ports once for each slice, endpoints with the conditions already resolved.

use std::net::IpAddr;
use std::sync::Arc;

use crate::name::Protocol;

/// One port of a slice. A slice without a port number means "all ports" and is of no use to a proxy; DNS ignores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// Name that matches a [`crate::ServicePort::name`], `""` when unnamed.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the endpoint.
    pub port: u16,
}

/// One address of a slice with what decides its use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address. Slices list several addresses per endpoint only in theory; each becomes an endpoint here.
    pub address: IpAddr,
    /// False where proxies send nothing, though it has names: behind the first address of an endpoint, which has no
    /// meaning to them, and in a slice with the label `service.kubernetes.io/headless`.
    pub proxied: bool,
    /// `conditions.ready`, nil = true.
    pub ready: bool,
    /// `conditions.serving`, nil = true.
    pub serving: bool,
    /// `conditions.terminating`, nil = false.
    pub terminating: bool,
    /// Host name, if the pod sets one for this Service (KEP: `hostname` + `subdomain`).
    pub hostname: Option<Arc<str>>,
    /// Node that it runs on.
    pub node: Option<Arc<str>>,
    /// Zone that it runs in.
    pub zone: Option<Arc<str>>,
    /// `hints.forZones`.
    pub for_zones: Vec<Arc<str>>,
    /// `hints.forNodes`.
    pub for_nodes: Vec<Arc<str>>,
    /// `targetRef`'s name, when it is a Pod.
    pub pod: Option<Arc<str>>,
}

/// One EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Its ports.
    pub ports: Vec<SlicePort>,
    /// Its endpoints in the object's order.
    pub endpoints: Vec<Endpoint>,
}
