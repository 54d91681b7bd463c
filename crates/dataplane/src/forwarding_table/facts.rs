//! What the table must know of the node that it is for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use services::Protocol;

use super::FrontendKey;

/// DNS' port, UDP and TCP.
const DNS_PORT: u16 = 53;

/// How connections from pods are told from those from elsewhere (kube-proxy's `--detect-local-mode`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// They are not: nothing is masqueraded or kept in the cluster for where it comes from.
    #[default]
    Unknown,
    /// By their address: the cluster's pods, or this node's.
    Cidrs(BTreeSet<IpNet>),
    /// By the bridge that their interfaces are ports of.
    Bridge(Box<str>),
    /// By the first letters of their interfaces' names.
    InterfacePrefix(Box<str>),
}

impl Pods {
    /// True for an address that is known to be a pod's.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        matches!(self, Self::Cidrs(cidrs) if cidrs.iter().any(|cidr| cidr.contains(&address)))
    }

    /// True when pods are told apart for this family: an address range of the other says nothing about it.
    #[must_use]
    pub fn knows(&self, ipv4: bool) -> bool {
        match self {
            Self::Unknown => false,
            Self::Cidrs(cidrs) => cidrs.iter().any(|cidr| cidr.addr().is_ipv4() == ipv4),
            Self::Bridge(_) | Self::InterfacePrefix(_) => true,
        }
    }
}

/// One node, as far as forwarding on it depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name: endpoints with this `nodeName` are local.
    pub name: Arc<str>,
    /// The node's zone, for topology hints.
    pub zone: Option<Arc<str>>,
    /// The node's own addresses, as its Node object tells them.
    pub addresses: BTreeSet<IpAddr>,
    /// Addresses of the node on which node ports answer.
    pub node_port_addresses: BTreeSet<IpAddr>,
    /// How pods' connections are recognised.
    pub pods: Pods,
    /// Masquerade every connection to a ClusterIP.
    pub masquerade_all: bool,
    /// The subnets that service addresses come from. What still goes there after translation is dropped.
    pub service_cidrs: BTreeSet<IpNet>,
    /// Service addresses and ports that a server on this node answers itself, without translation: DNS. Their endpoints
    /// on other nodes are for when it does not.
    pub answered: BTreeSet<FrontendKey>,
}

impl NodeFacts {
    /// A node that answers nothing itself.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, service_cidrs: impl IntoIterator<Item = IpNet>) -> Self {
        Self { name: name.into(), service_cidrs: service_cidrs.into_iter().collect(), ..Self::default() }
    }

    /// The same node in a zone.
    #[must_use]
    pub fn in_zone(mut self, zone: Option<Arc<str>>) -> Self {
        self.zone = zone;
        self
    }

    /// The same node with these addresses of its own; node ports answer on the first of each family ("primary").
    #[must_use]
    pub fn with_addresses(mut self, addresses: &[IpAddr]) -> Self {
        self.addresses = addresses.iter().copied().collect();
        let primary = |ipv4: bool| addresses.iter().copied().find(|address| address.is_ipv4() == ipv4);
        self.node_port_addresses = [true, false].into_iter().filter_map(primary).collect();
        self
    }

    /// The same node, with pods recognised in this way.
    #[must_use]
    pub fn recognising(mut self, pods: Pods) -> Self {
        self.pods = pods;
        self
    }

    /// The same node with its DNS server answering on `address`, port 53, UDP and TCP. While that has no socket there,
    /// queries are forwarded to the endpoints of that Service that are no addresses of this node.
    #[must_use]
    pub fn answering_dns(mut self, address: IpAddr) -> Self {
        let keys =
            [Protocol::Udp, Protocol::Tcp].map(|protocol| FrontendKey::new(protocol, address, DNS_PORT));
        self.answered.extend(keys);
        self
    }

    /// The service CIDRs with neighbours and overlaps joined: kernels refuse overlapping intervals.
    #[must_use]
    pub fn merged_cidrs(&self) -> Vec<IpNet> {
        merged(&self.service_cidrs)
    }

    /// The subnets by which pods are recognised, joined in the same way; none when they are told otherwise.
    #[must_use]
    pub fn merged_pods(&self) -> Vec<IpNet> {
        match &self.pods {
            Pods::Cidrs(cidrs) => merged(cidrs),
            Pods::Unknown | Pods::Bridge(_) | Pods::InterfacePrefix(_) => Vec::new(),
        }
    }

    /// True when frontends computed with `other` are the same.
    pub(super) fn selects_like(&self, other: &Self) -> bool {
        self.name == other.name
            && self.zone == other.zone
            && self.addresses == other.addresses
            && self.node_port_addresses == other.node_port_addresses
            && self.answered == other.answered
    }

    /// True for an endpoint on this node; one of an unknown node may be.
    pub(super) fn may_run(&self, node: Option<&Arc<str>>) -> bool {
        node.is_none_or(|node| *node == self.name)
    }

    /// True for an endpoint that is known to be on this node.
    pub(super) fn runs(&self, node: Option<&Arc<str>>) -> bool {
        node.is_some_and(|node| *node == self.name)
    }
}

fn merged(cidrs: &BTreeSet<IpNet>) -> Vec<IpNet> {
    let cidrs: Vec<IpNet> = cidrs.iter().map(IpNet::trunc).collect();
    let mut merged = IpNet::aggregate(&cidrs);
    merged.sort_unstable();
    merged
}
