//! What the table must know of the node that it is for.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use services::Protocol;

use super::FrontendKey;

/// DNS' port, UDP and TCP.
const DNS_PORT: u16 = 53;

/// One node, as far as forwarding on it depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name: endpoints with this `nodeName` are local.
    pub name: Arc<str>,
    /// The subnets that service addresses come from. What still goes there after translation is dropped.
    pub service_cidrs: BTreeSet<IpNet>,
    /// Service addresses and ports that a server on this node answers itself, without translation: DNS.
    pub answered: BTreeSet<FrontendKey>,
}

impl NodeFacts {
    /// A node that answers nothing itself.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, service_cidrs: impl IntoIterator<Item = IpNet>) -> Self {
        Self {
            name: name.into(),
            service_cidrs: service_cidrs.into_iter().collect(),
            answered: BTreeSet::new(),
        }
    }

    /// The same node with its DNS server answering on `address`, port 53, UDP and TCP. Say this while the server
    /// runs; without it, queries are forwarded to the endpoints of that Service like any other traffic.
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
        let cidrs: Vec<IpNet> = self.service_cidrs.iter().map(IpNet::trunc).collect();
        let mut merged = IpNet::aggregate(&cidrs);
        merged.sort_unstable();
        merged
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
