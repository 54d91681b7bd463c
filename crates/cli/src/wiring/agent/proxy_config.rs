//! How the proxy half is configured, in kube-proxy's terms: what a node's settings mean before its Node object and its
//! interfaces are known. Pure; flags and files are read in `wiring::proxy`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

/// kube-proxy's port for its health.
pub(crate) const HEALTHZ_PORT: u16 = 10_256;
/// kube-proxy's port for its metrics.
pub(crate) const METRICS_PORT: u16 = 10_249;
/// kube-proxy's `syncPeriod`: an update that waits for twice as long makes the proxy unhealthy.
pub(crate) const SYNC_PERIOD: Duration = Duration::from_secs(30);

/// The proxy half of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProxyConfig {
    /// Subnets of the service addresses; `None`: those of the cluster's ServiceCIDR objects, as they change.
    pub(crate) service_cidrs: Option<Vec<IpNet>>,
    /// Taken for the node's own address instead of the Node object's (`bindAddress`).
    pub(crate) primary_address: Option<IpAddr>,
    /// How traffic of this node's pods is told from other traffic.
    pub(crate) local_pods: LocalPods,
    /// Where node ports are served.
    pub(crate) node_port_addresses: Vec<NodePortAddress>,
    /// Whether all traffic to cluster addresses gets the node's address as its source.
    pub(crate) masquerade_all: bool,
    /// Where `/healthz` and `/livez` are served, if at all.
    pub(crate) healthz: Option<SocketAddr>,
    /// Where `/metrics` is served, if at all.
    pub(crate) metrics: Option<SocketAddr>,
    /// Whether an address of these that cannot be had ends the program. Otherwise it is tried again every 5 s.
    pub(crate) bind_hard_fail: bool,
    /// An update that has waited for twice as long makes the proxy unhealthy.
    pub(crate) sync_period: Duration,
    /// The least time between two transactions; zero: each update is programmed at once.
    pub(crate) min_sync_period: Duration,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            service_cidrs: None,
            primary_address: None,
            local_pods: LocalPods::ClusterCidrs(Vec::new()),
            node_port_addresses: vec![NodePortAddress::Primary],
            masquerade_all: false,
            healthz: Some((Ipv4Addr::UNSPECIFIED, HEALTHZ_PORT).into()),
            metrics: Some((Ipv4Addr::LOCALHOST, METRICS_PORT).into()),
            bind_hard_fail: false,
            sync_period: SYNC_PERIOD,
            min_sync_period: Duration::ZERO,
        }
    }
}

impl ProxyConfig {
    /// Whether the addresses of the node's interfaces decide anything.
    pub(crate) fn follows_interfaces(&self) -> bool {
        let decides =
            |entry: &NodePortAddress| matches!(entry, NodePortAddress::All | NodePortAddress::Within(_));
        self.node_port_addresses.iter().any(decides)
    }
}

/// `detectLocalMode` with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocalPods {
    /// Their source is in one of these; without any, no traffic counts as a local pod's.
    ClusterCidrs(Vec<IpNet>),
    /// Their source is in the Node's podCIDRs.
    NodeCidr,
    /// They come through this bridge.
    Bridge(String),
    /// They come through an interface whose name begins like this.
    InterfacePrefix(String),
}

/// One entry of `nodePortAddresses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodePortAddress {
    /// The Node object's first address of each family.
    Primary,
    /// `127.0.0.0/8` and `::1/128`.
    Localhost,
    /// Every address of the node.
    All,
    /// The addresses of the node's interfaces in this subnet.
    Within(IpNet),
}
