//! Asks the table what becomes of a packet: the answer that the kernel must give too.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use services::Protocol;

use super::{ForwardingTable, Frontend, FrontendKey, Masquerade, Target, text};

/// The first packet of a flow, as it enters the node or leaves a process of it. Prints as
/// `10.244.1.5 -> tcp 10.96.132.79:80`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: FrontendKey,
}

impl Packet {
    /// A packet from an address to an address and port.
    #[must_use]
    pub fn new(source: IpAddr, protocol: Protocol, destination: SocketAddr) -> Self {
        Self { source, destination: FrontendKey::new(protocol, destination.ip(), destination.port()) }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.source, self.destination)
    }
}

/// What becomes of a packet. Prints as in scenarios: the endpoints, `reject`, `drop`, `local` or `pass`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Translated to one of these endpoints, at random.
    Forward(Arc<[SocketAddr]>),
    /// Refused: TCP reset, or ICMP port unreachable.
    Reject,
    /// Dropped silently.
    Drop,
    /// Delivered untranslated to this node's own server.
    Local,
    /// None of our business: the packet goes on as if we were not there.
    Pass,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(endpoints) => text::endpoints(f, endpoints),
            Self::Reject => f.write_str("reject"),
            Self::Drop => f.write_str("drop"),
            Self::Local => f.write_str("local"),
            Self::Pass => f.write_str("pass"),
        }
    }
}

impl ForwardingTable {
    /// What this node does with the first packet of a flow.
    #[must_use]
    pub fn judge(&self, packet: &Packet) -> Outcome {
        let destination = &packet.destination;
        if self.facts.answered.contains(destination) {
            return Outcome::Local;
        }
        match self.frontend(destination) {
            Some(frontend) => self.judge_frontend(packet.source, frontend),
            None => self.judge_stray(destination.address),
        }
    }

    fn judge_frontend(&self, source: IpAddr, frontend: &Frontend) -> Outcome {
        if !frontend.sources.is_empty() && !frontend.sources.iter().any(|range| range.contains(&source)) {
            return Outcome::Drop;
        }
        match self.target_for(source, frontend) {
            Target::Balance(endpoints) => Outcome::Forward(Arc::clone(endpoints)),
            Target::Refuse => Outcome::Reject,
            Target::Drop => Outcome::Drop,
        }
    }

    /// The target that applies to connections from `source`: with external policy Local, pods and this node are served
    /// as if they came by a load balancer that may choose any node.
    #[must_use]
    pub fn target_for<'a>(&self, source: IpAddr, frontend: &'a Frontend) -> &'a Target {
        match &frontend.outside {
            Some(outside) if !self.facts.pods.contains(source) && !self.is_own(source) => outside,
            _ => &frontend.target,
        }
    }

    /// True for an address of this node.
    fn is_own(&self, address: IpAddr) -> bool {
        self.facts.addresses.contains(&address) || self.facts.node_port_addresses.contains(&address)
    }

    /// A packet to no frontend: an undefined port, an address that no Service has, or not ours.
    fn judge_stray(&self, address: IpAddr) -> Outcome {
        if self.is_address(address) {
            Outcome::Reject
        } else if self.facts.service_cidrs.iter().any(|cidr| cidr.contains(&address)) {
            Outcome::Drop
        } else {
            Outcome::Pass
        }
    }

    /// True when a connection from `source` to this frontend that was translated to `endpoint` leaves with the node's
    /// address as its source, so that the answer comes back here.
    #[must_use]
    pub fn masquerades(&self, source: IpAddr, destination: &FrontendKey, endpoint: IpAddr) -> bool {
        let Some(frontend) = self.frontend(destination) else { return false };
        if source == endpoint && self.is_hairpin(endpoint) {
            return true;
        }
        match frontend.masquerade() {
            Masquerade::Always => true,
            Masquerade::Own => self.is_own(source),
            Masquerade::Never => self.masquerades_cluster_ip(source),
        }
    }

    /// Connections to ClusterIPs from elsewhere than pods may be answered past this node.
    fn masquerades_cluster_ip(&self, source: IpAddr) -> bool {
        let pods = &self.facts.pods;
        self.facts.masquerade_all || (pods.knows(source.is_ipv4()) && !pods.contains(source))
    }
}
