//! One address and port of a Service, and what happens to packets for it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use services::{Protocol, ServiceName, TrafficPolicy};

/// Address, port and protocol that clients use. Orders by address, port, protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FrontendKey {
    /// The virtual IP.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

impl FrontendKey {
    /// The key of a protocol, address and port.
    #[must_use]
    pub fn new(protocol: Protocol, address: IpAddr, port: u16) -> Self {
        Self { address, port, protocol }
    }
}

/// What becomes of a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// It goes to one of these, at random. Sorted, without duplicates, never empty.
    Balance(Arc<[SocketAddr]>),
    /// No endpoint anywhere: refused, TCP by reset, others by ICMP port unreachable.
    Refuse,
    /// Policy Local and no endpoint on this node, though elsewhere: dropped (KEP-2086).
    Drop,
}

impl Target {
    /// The endpoints, none unless it balances.
    #[must_use]
    pub fn endpoints(&self) -> &[SocketAddr] {
        match self {
            Self::Balance(endpoints) => endpoints,
            Self::Refuse | Self::Drop => &[],
        }
    }
}

/// What makes an address and port a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A ClusterIP: the address is wholly ours, its undefined ports are refused.
    ClusterIp,
    /// One of `spec.externalIPs`: only this port is ours, as with the kinds that follow.
    ExternalIp,
    /// A virtual IP of the load balancer.
    LoadBalancer,
    /// A node port on an address of this node.
    NodePort,
}

impl Kind {
    /// As in dumps: `external-ip`, nothing for a ClusterIP.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "",
            Self::ExternalIp => "external-ip",
            Self::LoadBalancer => "load-balancer",
            Self::NodePort => "node-port",
        }
    }
}

/// Which connections leave with the node's address as their source, so that the answer comes back here. Endpoints that
/// reach themselves always do, and with a ClusterIP whatever [`super::NodeFacts`] say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Masquerade {
    /// None but those.
    Never,
    /// This node's own (external policy Local): the frontend's address may be local, and then is their source.
    Own,
    /// All (external policy Cluster): the endpoint may be on another node.
    Always,
}

/// What a Service port's address does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// The Service.
    pub service: ServiceName,
    /// Name of its port, `""` when unnamed.
    pub port: Arc<str>,
    /// What makes it one.
    pub kind: Kind,
    /// What happens to new connections: to all of them, or to those from pods and from this node when there is
    /// `outside`.
    pub target: Target,
    /// The policy by which `target`'s endpoints were chosen. Frontends of one Service port, family and policy share
    /// one list.
    pub policy: TrafficPolicy,
    /// External policy Local: what happens to new connections from elsewhere. Its endpoints are this node's.
    pub outside: Option<Target>,
    /// Who may connect, others are dropped; empty: all may. Of the frontend's family, sorted, merged.
    pub sources: Arc<[IpNet]>,
    /// A client goes to the same endpoint again until it has not come back for so long. One memory for all frontends
    /// of a Service port and family.
    pub affinity: Option<Duration>,
    /// Addresses among the endpoints that are on this node (or may be), for hairpin masquerade.
    pub local: Box<[IpAddr]>,
}

impl Frontend {
    /// `namespace/name`, with `:port` when the port is named.
    #[must_use]
    pub fn owner(&self) -> String {
        if self.port.is_empty() {
            self.service.to_string()
        } else {
            format!("{}:{}", self.service, self.port)
        }
    }

    /// Which of its connections are masqueraded.
    #[must_use]
    pub fn masquerade(&self) -> Masquerade {
        match (self.kind, &self.outside) {
            (Kind::ClusterIp, _) => Masquerade::Never,
            (_, Some(_)) => Masquerade::Own,
            (_, None) => Masquerade::Always,
        }
    }

    /// The endpoints of all its lists, those of `target` first.
    pub fn endpoints(&self) -> impl Iterator<Item = SocketAddr> {
        let outside = self.outside.as_ref().map(Target::endpoints).unwrap_or_default();
        self.target.endpoints().iter().chain(outside).copied()
    }
}
