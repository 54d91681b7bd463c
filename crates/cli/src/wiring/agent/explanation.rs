//! What an agent says of one packet and of one name, from its own table and zone, as JSON: the node's part of
//! `sluice trace`. The reasons are the forwarding table's ([`ForwardingTable::explain`]); here they only get their names.

use std::net::{IpAddr, SocketAddr};

use dataplane::forwarding_table::{
    Destination, EndpointReason, Explanation, ForwardingTable, Kind, MasqueradeReason, NodeFacts, Outcome,
    Packet, Pods, Reasons, Standing, ports_at,
};
use dns::lookup::{Lookup, Source};
use dns::zone::Zone;
use serde::{Deserialize, Serialize};
use services::{ServiceName, Snapshot, TrafficPolicy};

/// The node that an agent works for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeSelf {
    /// Its name; empty when the agent runs no proxy.
    pub(crate) node: String,
    /// The cluster's domain; none when it answers no names.
    pub(crate) domain: Option<String>,
    /// Addresses at which it answers names itself.
    pub(crate) dns_addresses: Vec<IpAddr>,
    /// How it tells pods' connections from others, in words; none when it does not.
    pub(crate) pods: Option<String>,
}

/// What an address and port are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DestinationKind {
    /// A Service's virtual IP.
    #[serde(rename = "clusterIP")]
    ClusterIp,
    /// One of a Service's `externalIPs`.
    #[serde(rename = "externalIP")]
    ExternalIp,
    /// An address of a Service's load balancer.
    LoadBalancer,
    /// A node port.
    NodePort,
    /// A server on the node itself answers, untranslated.
    NodeLocal,
    /// A Service's virtual IP, at a port that it does not define.
    UndefinedPort,
    /// The address of a Service that is left to another proxy.
    LeftAlone,
    /// An address of the service subnet that no Service has.
    Unallocated,
    /// Nothing that the proxy knows: it goes where it is sent.
    #[default]
    Direct,
}

/// What becomes of the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Fate {
    /// Translated to one of the endpoints that are in.
    Forwarded,
    /// Refused: TCP reset or ICMP port unreachable.
    Refused,
    /// Dropped without an answer.
    Dropped,
    /// Delivered to the node's own server.
    Local,
    /// Left alone.
    #[default]
    Untouched,
}

/// One endpoint of the Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointView {
    pub(crate) address: String,
    pub(crate) port: Option<u16>,
    pub(crate) pod: Option<String>,
    pub(crate) node: Option<String>,
    pub(crate) zone: Option<String>,
    /// It is on its way out.
    pub(crate) terminating: bool,
    /// In how many EndpointSlices it is.
    pub(crate) slices: usize,
    pub(crate) standing: Standing,
    /// None: the sender's address stays.
    pub(crate) masquerade: Option<MasqueradeReason>,
    /// The route from the node, `via 172.18.0.3 dev eth0`.
    pub(crate) route: Option<String>,
}

/// A Service by its names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceView {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Name of its port, empty when it has none.
    pub(crate) port_name: String,
}

/// What a node does with the packet and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Delivery {
    /// `tcp 10.96.132.79:80`
    pub(crate) destination: String,
    pub(crate) kind: DestinationKind,
    pub(crate) fate: Fate,
    pub(crate) service: Option<ServiceView>,
    /// `80/TCP`, `443/TCP https`: what the Service defines, when the port asked for is not among it.
    pub(crate) defined_ports: Vec<String>,
    /// `internalTrafficPolicy` or `externalTrafficPolicy`, whichever applies.
    pub(crate) policy_field: Option<String>,
    /// The endpoints were chosen as this value says: `Cluster` or `Local`.
    pub(crate) policy: Option<String>,
    /// The Service's policy is Local, but pods and the node itself are served as if it was Cluster.
    pub(crate) short_circuit: bool,
    pub(crate) affinity_seconds: Option<u64>,
    /// Who may connect; empty: all.
    pub(crate) source_ranges: Vec<String>,
    pub(crate) source_allowed: bool,
    pub(crate) endpoints: Vec<EndpointView>,
    /// The line of `sluice dump forwarding`.
    pub(crate) table_line: Option<String>,
}

/// One question for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NameAnswer {
    /// `10.96.132.79`, `NXDOMAIN`, `NODATA`, `CNAME example.com. | 192.0.2.1`
    pub(crate) answer: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// The zone has not the last word: the name, or what it is an alias for, is asked of the upstream resolvers.
    pub(crate) forwarded: bool,
}

impl NameAnswer {
    /// Reads what a zone or a server says.
    pub(crate) fn of(lookup: &Lookup) -> Self {
        let addresses = lookup.answers().iter().filter(|record| record.kind == lookup.kind);
        Self {
            answer: lookup.to_string(),
            addresses: addresses.filter_map(|record| record.data_text()?.parse().ok()).collect(),
            forwarded: lookup.source != Source::Zone,
        }
    }

    /// The zone's word.
    pub(crate) fn from_zone(zone: &Zone, name: &str, kind: &str) -> anyhow::Result<Self> {
        Ok(Self::of(&zone.lookup(name, kind)?))
    }
}

impl NodeSelf {
    /// What the halves that run know.
    pub(crate) fn of(facts: Option<&NodeFacts>, zone: Option<&Zone>) -> Self {
        let zones = zone.map(|zone| zone.config().zones.as_slice()).unwrap_or_default();
        let domain =
            zones.iter().map(|suffix| suffix.name().to_string()).find(|name| !name.ends_with(".arpa."));
        let mut dns_addresses: Vec<IpAddr> =
            facts.into_iter().flat_map(|facts| facts.answered.iter().map(|key| key.address)).collect();
        dns_addresses.dedup();
        Self {
            node: facts.map(|facts| facts.name.to_string()).unwrap_or_default(),
            domain,
            dns_addresses,
            pods: facts.and_then(|facts| recognised(&facts.pods)),
        }
    }
}

fn recognised(pods: &Pods) -> Option<String> {
    match pods {
        Pods::Unknown => None,
        Pods::Cidrs(cidrs) => {
            let list: Vec<String> = cidrs.iter().map(ToString::to_string).collect();
            Some(format!("pods are told by their addresses, {}", list.join(", ")))
        }
        Pods::Bridge(name) => Some(format!("pods are told by their bridge, {name}")),
        Pods::InterfacePrefix(prefix) => Some(format!("pods are told by their interfaces, {prefix}*")),
    }
}

impl Delivery {
    /// What the table does with `packet`.
    pub(crate) fn of(table: &ForwardingTable, snapshot: &Snapshot, packet: &Packet) -> Self {
        let Explanation { outcome, destination } = table.explain(packet, snapshot);
        let named = |name: &ServiceName| ServiceView {
            namespace: name.namespace().to_owned(),
            name: name.name().to_owned(),
            port_name: String::new(),
        };
        let plain = Self {
            destination: packet.destination.to_string(),
            fate: fate(&outcome),
            source_allowed: true,
            table_line: table.line_of(&packet.destination),
            ..Self::default()
        };
        match destination {
            Destination::Frontend(reasons) => plain.with_reasons(&reasons),
            Destination::Answered(service) => {
                Self { kind: DestinationKind::NodeLocal, service: service.as_ref().map(named), ..plain }
            }
            Destination::UndefinedPort(services) => Self {
                kind: DestinationKind::UndefinedPort,
                service: services.first().map(named),
                defined_ports: defined_ports(snapshot, packet.destination.address),
                ..plain
            },
            Destination::LeftAlone(services) => {
                Self { kind: DestinationKind::LeftAlone, service: services.first().map(named), ..plain }
            }
            Destination::Unallocated => Self { kind: DestinationKind::Unallocated, ..plain },
            Destination::Foreign => plain,
        }
    }

    fn with_reasons(self, reasons: &Reasons) -> Self {
        let frontend = &reasons.frontend;
        let internal = frontend.kind == Kind::ClusterIp;
        let field = if internal { "internalTrafficPolicy" } else { "externalTrafficPolicy" };
        let policy = if reasons.policy == TrafficPolicy::Local { "Local" } else { "Cluster" };
        Self {
            kind: match frontend.kind {
                Kind::ClusterIp => DestinationKind::ClusterIp,
                Kind::ExternalIp => DestinationKind::ExternalIp,
                Kind::LoadBalancer => DestinationKind::LoadBalancer,
                Kind::NodePort => DestinationKind::NodePort,
            },
            service: Some(ServiceView {
                namespace: frontend.service.namespace().to_owned(),
                name: frontend.service.name().to_owned(),
                port_name: frontend.port.to_string(),
            }),
            policy_field: Some(field.to_owned()),
            policy: Some(policy.to_owned()),
            short_circuit: frontend.outside.is_some() && reasons.policy == TrafficPolicy::Cluster,
            affinity_seconds: frontend.affinity.map(|timeout| timeout.as_secs()),
            source_ranges: frontend.sources.iter().map(ToString::to_string).collect(),
            source_allowed: reasons.source_allowed,
            endpoints: reasons.endpoints.iter().map(endpoint).collect(),
            ..self
        }
    }
}

fn fate(outcome: &Outcome) -> Fate {
    match outcome {
        Outcome::Forward(_) => Fate::Forwarded,
        Outcome::Reject => Fate::Refused,
        Outcome::Drop => Fate::Dropped,
        Outcome::Local => Fate::Local,
        Outcome::Pass => Fate::Untouched,
    }
}

fn endpoint(reason: &EndpointReason) -> EndpointView {
    let text = |text: &Option<std::sync::Arc<str>>| text.as_ref().map(ToString::to_string);
    EndpointView {
        address: reason.address.to_string(),
        port: reason.port,
        pod: text(&reason.pod),
        node: text(&reason.node),
        zone: text(&reason.zone),
        terminating: reason.terminating,
        slices: reason.listed,
        standing: reason.standing,
        masquerade: reason.masquerade,
        route: None,
    }
}

fn defined_ports(snapshot: &Snapshot, address: IpAddr) -> Vec<String> {
    let ports = ports_at(snapshot, address).into_iter();
    ports
        .map(|(_, name, protocol, number)| {
            let protocol = protocol.as_str().to_uppercase();
            if name.is_empty() {
                format!("{number}/{protocol}")
            } else {
                format!("{number}/{protocol} {name}")
            }
        })
        .collect()
}

impl EndpointView {
    /// True when it may be chosen.
    pub(crate) fn is_in(&self) -> bool {
        self.standing == Standing::In
    }

    /// `10.244.1.3:9898`, or the address alone.
    pub(crate) fn socket(&self) -> String {
        match (self.port, self.address.parse::<IpAddr>()) {
            (Some(port), Ok(address)) => SocketAddr::new(address, port).to_string(),
            _ => self.address.clone(),
        }
    }
}
