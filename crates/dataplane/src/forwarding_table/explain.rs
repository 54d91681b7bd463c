//! Why a packet meets what it meets: the reasons behind [`ForwardingTable::judge`], for `sluice trace`.
//!
//! The judgement is `judge`'s own, and the standing of each endpoint comes from the code that selects them, so that an
//! explanation cannot say anything else than the table does. Nothing here decides.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use services::{Protocol, Service, ServiceName, ServicePort, ServiceState, Snapshot, TrafficPolicy};

use super::selection::{self, Standing};
use super::{ForwardingTable, Frontend, Kind, Masquerade, Outcome, Packet};

/// What the table does with a packet, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What becomes of it.
    pub outcome: Outcome,
    /// What its destination is.
    pub destination: Destination,
}

/// What an address and port are to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A server on this node answers it, for this Service.
    Answered(Option<ServiceName>),
    /// A Service's address and port.
    Frontend(Box<Reasons>),
    /// A virtual IP of these Services, at a port or protocol that none of them defines.
    UndefinedPort(Vec<ServiceName>),
    /// An address of these Services, which are left to another proxy.
    LeftAlone(Vec<ServiceName>),
    /// Of a service subnet, but no Service's.
    Unallocated,
    /// Nothing that the table knows.
    Foreign,
}

/// How a frontend serves a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons {
    /// The frontend.
    pub frontend: Frontend,
    /// The policy that applies to this packet.
    pub policy: TrafficPolicy,
    /// False when its sender is in none of the frontend's source ranges.
    pub source_allowed: bool,
    /// Every endpoint of the Service, also those of other ports and of the other family; in the order of addresses.
    pub endpoints: Vec<EndpointReason>,
}

/// One endpoint and why it does or does not take the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointReason {
    /// Its address.
    pub address: IpAddr,
    /// Its port; none when its slices do not have the Service's port.
    pub port: Option<u16>,
    /// Its node.
    pub node: Option<Arc<str>>,
    /// Its zone.
    pub zone: Option<Arc<str>>,
    /// Its pod.
    pub pod: Option<Arc<str>>,
    /// It is on its way out.
    pub terminating: bool,
    /// In how many slices it is listed; it counts once, in its best condition.
    pub listed: usize,
    /// Why it is in or out.
    pub standing: Standing,
    /// Whether, and why, the node's address becomes the packet's source on the way there.
    pub masquerade: Option<MasqueradeReason>,
}

/// Why a connection leaves with the node's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MasqueradeReason {
    /// The endpoint is the sender.
    Hairpin,
    /// External policy Cluster: the endpoint may be on a node that the answer would not come back from.
    External,
    /// This node's own connection to an address from outside of the cluster.
    Own,
    /// The proxy masquerades every connection to a ClusterIP.
    All,
    /// The sender is no pod.
    NotAPod,
}

impl ForwardingTable {
    /// Judges a packet and says why. `snapshot` is the one that the table was last updated with.
    #[must_use]
    pub fn explain(&self, packet: &Packet, snapshot: &Snapshot) -> Explanation {
        Explanation { outcome: self.judge(packet), destination: self.destination(packet, snapshot) }
    }

    fn destination(&self, packet: &Packet, snapshot: &Snapshot) -> Destination {
        let key = &packet.destination;
        let frontend = self.frontend(key);
        if self.facts().answered.contains(key) {
            return Destination::Answered(frontend.map(|frontend| frontend.service.clone()));
        }
        if let Some(frontend) = frontend {
            return Destination::Frontend(Box::new(self.reasons(packet, frontend, snapshot)));
        }
        let holders = holders(snapshot, key.address);
        let names = |proxied| {
            let wanted = holders.iter().filter(move |(_, service)| service.proxied == proxied);
            wanted.map(|(name, _)| (*name).clone()).collect::<Vec<_>>()
        };
        let in_subnet = self.facts().service_cidrs.iter().any(|cidr| cidr.contains(&key.address));
        match (names(true), names(false)) {
            (proxied, _) if !proxied.is_empty() => Destination::UndefinedPort(proxied),
            (_, others) if !others.is_empty() => Destination::LeftAlone(others),
            _ if in_subnet => Destination::Unallocated,
            _ => Destination::Foreign,
        }
    }

    fn reasons(&self, packet: &Packet, frontend: &Frontend, snapshot: &Snapshot) -> Reasons {
        let outside = frontend.outside.as_ref();
        let is_outside =
            outside.is_some_and(|outside| std::ptr::eq(self.target_for(packet.source, frontend), outside));
        let policy = if is_outside { TrafficPolicy::Local } else { frontend.policy };
        let endpoints = snapshot
            .services
            .get(&frontend.service)
            .map(|state| self.endpoint_reasons(packet, frontend, policy, state));
        Reasons {
            policy,
            source_allowed: frontend.sources.is_empty()
                || frontend.sources.iter().any(|range| range.contains(&packet.source)),
            endpoints: endpoints.unwrap_or_default(),
            frontend: frontend.clone(),
        }
    }

    fn endpoint_reasons(
        &self,
        packet: &Packet,
        frontend: &Frontend,
        policy: TrafficPolicy,
        state: &ServiceState,
    ) -> Vec<EndpointReason> {
        let Some(port) = service_port(state, frontend, packet) else { return Vec::new() };
        let ipv4 = packet.destination.address.is_ipv4();
        let standings = selection::standings(self.facts(), port, state, ipv4, policy);
        let mut reasons: Vec<EndpointReason> = standings
            .into_iter()
            .map(|(address, standing)| {
                let masquerade = self.masquerade_reason(packet, frontend, address.ip());
                EndpointReason {
                    port: Some(address.port()),
                    masquerade: masquerade.filter(|_| standing == Standing::In),
                    ..reason(state, address.ip(), standing)
                }
            })
            .collect();
        for endpoint in state.slices.iter().flat_map(|slice| &slice.endpoints) {
            if reasons.iter().all(|known| known.address != endpoint.address) {
                let family = endpoint.address.is_ipv4() == ipv4;
                let standing = if family { Standing::OtherPort } else { Standing::OtherFamily };
                reasons.push(reason(state, endpoint.address, standing));
            }
        }
        reasons.sort_by_key(|reason| (reason.address, reason.port));
        reasons
    }

    /// Why [`ForwardingTable::masquerades`] says yes; none when it says no.
    fn masquerade_reason(
        &self,
        packet: &Packet,
        frontend: &Frontend,
        endpoint: IpAddr,
    ) -> Option<MasqueradeReason> {
        if !self.masquerades(packet.source, &packet.destination, endpoint) {
            return None;
        }
        Some(match frontend.masquerade() {
            _ if packet.source == endpoint => MasqueradeReason::Hairpin,
            Masquerade::Always => MasqueradeReason::External,
            Masquerade::Own => MasqueradeReason::Own,
            Masquerade::Never if self.facts().masquerade_all => MasqueradeReason::All,
            Masquerade::Never => MasqueradeReason::NotAPod,
        })
    }
}

/// Services that have a virtual IP.
fn holders(snapshot: &Snapshot, address: IpAddr) -> Vec<(&ServiceName, &Service)> {
    let services = snapshot.services.iter().filter_map(|(name, state)| Some((name, state.service.as_ref()?)));
    let mut found: Vec<_> =
        services.filter(|(_, service)| service.cluster_ips().contains(&address)).collect();
    found.sort_by_key(|(name, _)| *name);
    found
}

/// The Service's port that made the frontend.
fn service_port<'a>(
    state: &'a ServiceState,
    frontend: &Frontend,
    packet: &Packet,
) -> Option<&'a ServicePort> {
    let key = &packet.destination;
    let at =
        |port: &ServicePort| if frontend.kind == Kind::NodePort { port.node_port } else { Some(port.port) };
    let ports = state.service.iter().flat_map(|service| service.ports.iter());
    let mut fitting = ports.filter(|port| port.protocol == key.protocol && at(port) == Some(key.port));
    fitting.find(|port| port.name == frontend.port)
}

/// An endpoint by its address, with what its slices say about where it runs.
fn reason(state: &ServiceState, address: IpAddr, standing: Standing) -> EndpointReason {
    let listings = || {
        let endpoints = state.slices.iter().flat_map(|slice| &slice.endpoints);
        endpoints.filter(move |endpoint| endpoint.address == address)
    };
    EndpointReason {
        address,
        port: None,
        node: listings().find_map(|endpoint| endpoint.node.cloned()),
        zone: listings().find_map(|endpoint| endpoint.zone.cloned()),
        pod: listings().find_map(|endpoint| endpoint.pod).map(Arc::from),
        terminating: listings().all(|endpoint| endpoint.terminating),
        listed: listings().count(),
        standing,
        masquerade: None,
    }
}

impl EndpointReason {
    /// Address and port.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        self.port.map(|port| SocketAddr::new(self.address, port))
    }
}

/// The ports of the live Services that have this address, for whoever asked for another.
#[must_use]
pub fn ports_at(snapshot: &Snapshot, address: IpAddr) -> Vec<(ServiceName, Arc<str>, Protocol, u16)> {
    let ports = holders(snapshot, address).into_iter().flat_map(|(name, service)| {
        service.ports.iter().map(|port| (name.clone(), Arc::clone(&port.name), port.protocol, port.port))
    });
    ports.collect()
}
