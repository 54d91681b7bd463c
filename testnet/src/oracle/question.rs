//! What is asked about a set of objects: who sends what to which address.
//!
//! Destinations are every address and port of the Services, and what is beside them: undefined ports, other protocols,
//! addresses that nobody has, pods and nodes themselves. Each is asked by a few senders, chosen by the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use k8s_openapi::api::core::v1 as core;
use services::Protocol;

use super::objects::ObjectSet;
use super::profile::ADDRESSES;
use super::random::Random;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sender {
    /// Pods of the node.
    Pod,
    /// Pods of another node.
    Peer,
    /// A process of the node.
    Node,
    /// Another node.
    OtherNode,
    /// Somebody outside.
    Outside,
    /// Somebody outside whom source ranges often name.
    Friend,
    /// Whoever has this address: an endpoint that speaks to itself.
    Endpoint(IpAddr),
}

/// Classes of senders, their names and their first addresses. The first, second and last two stand for many addresses.
const CLASSES: [(Sender, &str, &str, &str); 6] = [
    (Sender::Pod, "pod", "10.244.128.0", "fd00:10:244:1:1::"),
    (Sender::Peer, "peer", "10.244.64.0", "fd00:10:244:2:1::"),
    (Sender::Node, "node", ADDRESSES[0], ADDRESSES[1]),
    (Sender::OtherNode, "other-node", "172.18.0.3", "fd00:172:18::3"),
    (Sender::Outside, "outside", "198.18.0.0", "2001:db8:113::"),
    (Sender::Friend, "friend", "198.19.0.0", "2001:db8:100::"),
];

/// How many addresses of a class that stands for many speak in one question: enough to meet all endpoints when each
/// only ever meets one.
const MANY: usize = 128;

/// At most so many destinations of a set are asked about.
const DESTINATIONS: usize = 22;

impl Sender {
    /// Its addresses of a family in the set's question of this number (below 128): others in each, because affinity to an
    /// endpoint is remembered for a Service port, by whatever address it was reached.
    #[must_use]
    pub fn addresses(self, ipv4: bool, number: usize) -> Vec<IpAddr> {
        if let Self::Endpoint(address) = self {
            return vec![address];
        }
        let texts = CLASSES.iter().find(|(sender, ..)| *sender == self).map(|(.., v4, v6)| [*v6, *v4]);
        let first = texts.and_then(|texts| texts[usize::from(ipv4)].parse().ok());
        let (start, count) = if self.is_one() { (0, 1) } else { (number % 128 * MANY, MANY) };
        first
            .into_iter()
            .flat_map(|first| (start..start + count).map(move |index| add(first, index)))
            .collect()
    }
}

impl Sender {
    /// True when it speaks with one address only.
    fn is_one(self) -> bool {
        matches!(self, Self::Node | Self::OtherNode | Self::Endpoint(_))
    }
}

fn add(address: IpAddr, index: usize) -> IpAddr {
    match address {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) + index as u32).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) + index as u128).into()),
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, CLASSES.iter().find(|(sender, ..)| sender == self)) {
            (Self::Endpoint(address), _) => address.fmt(f),
            (_, Some((_, name, ..))) => f.write_str(name),
            (_, None) => Err(fmt::Error),
        }
    }
}

impl FromStr for Sender {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let class = CLASSES.iter().find(|(_, name, ..)| *name == text);
        class.map_or_else(|| text.parse().map(Self::Endpoint), |(sender, ..)| Ok(*sender))
    }
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// Address and port.
    pub address: SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.address)
    }
}

impl FromStr for Destination {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (protocol, address) = text.split_once(' ').ok_or(())?;
        let protocol = Protocol::parse(&protocol.to_uppercase()).ok_or(())?;
        Ok(Self { address: address.parse().map_err(|_| ())?, protocol })
    }
}

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    /// Where to.
    pub destination: Destination,
    /// From whom.
    pub sender: Sender,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.sender, self.destination)
    }
}

/// The questions about a set, sorted.
#[must_use]
pub fn questions(set: &ObjectSet) -> BTreeSet<Question> {
    let mut random = Random::new(set.seed ^ 0x5EED_0F0F_5EED);
    let mut known = BTreeMap::new();
    for service in &set.services {
        of_service(service, set, &mut random, &mut known);
    }
    beside(&mut random, &mut known);
    let all: Vec<(Destination, Asked)> = known.into_iter().collect();
    let chosen = random.some(&all, DESTINATIONS);
    chosen.iter().flat_map(|(destination, asked)| ask(*destination, asked, &mut random)).collect()
}

/// What is known of a destination when its senders are chosen.
#[derive(Clone, Debug, Default)]
struct Asked {
    /// A sender with one address would only ever meet one endpoint of these.
    sticky: bool,
    /// Endpoints that may speak to themselves.
    endpoints: Vec<IpAddr>,
}

fn ask(destination: Destination, asked: &Asked, random: &mut Random) -> Vec<Question> {
    let ipv4 = destination.address.is_ipv4();
    let many = |sender: &Sender| !asked.sticky || !sender.is_one();
    let classes: Vec<Sender> = CLASSES.iter().map(|(sender, ..)| *sender).filter(many).collect();
    let mut senders = random.some(&classes, 3);
    let own: Vec<IpAddr> = asked.endpoints.iter().copied().filter(|ip| ip.is_ipv4() == ipv4).collect();
    if !asked.sticky && !own.is_empty() && random.chance(60) {
        senders.push(Sender::Endpoint(*random.pick(&own)));
    }
    senders.into_iter().map(|sender| Question { destination, sender }).collect()
}

/// The addresses and ports of a Service, each with a chance of an undefined port or another protocol beside it.
fn of_service(
    service: &core::Service,
    set: &ObjectSet,
    random: &mut Random,
    known: &mut BTreeMap<Destination, Asked>,
) {
    let Some(spec) = &service.spec else { return };
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref()).into_iter().flatten();
    let listed = spec.cluster_ips.iter().flatten().chain(spec.external_ips.iter().flatten());
    let addresses: Vec<IpAddr> = listed
        .chain(ingress.filter_map(|point| point.ip.as_ref()))
        .filter_map(|text| text.parse().ok())
        .collect();
    let asked = Asked {
        sticky: spec.session_affinity.as_deref() == Some("ClientIP"),
        endpoints: set.pods_of(service.metadata.name.as_deref().unwrap_or_default()),
    };
    for port in spec.ports.iter().flatten() {
        let protocol = port.protocol.as_deref().and_then(Protocol::parse).unwrap_or(Protocol::Tcp);
        let mut add = |ip: &IpAddr, protocol, number: i32| {
            let address = SocketAddr::new(*ip, u16::try_from(number).unwrap_or_default());
            known.insert(Destination { address, protocol }, asked.clone());
        };
        for ip in &addresses {
            add(ip, protocol, port.port);
            if random.chance(15) {
                add(ip, protocol, port.port + 1000);
            }
            if random.chance(10) {
                add(ip, *random.pick(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp]), port.port);
            }
        }
        let node_port = port.node_port.filter(|number| *number != 0);
        let nodes = ADDRESSES.iter().chain(&["172.18.0.3"]).filter_map(|text| text.parse().ok());
        nodes.for_each(|ip| node_port.into_iter().for_each(|number| add(&ip, protocol, number)));
    }
}

/// What has nothing to do with any Service.
fn beside(random: &mut Random, known: &mut BTreeMap<Destination, Asked>) {
    let strays = [
        "tcp 10.96.200.200:80",
        "udp 10.96.200.200:53",
        "sctp 10.96.200.200:80",
        "tcp [fd00:10:96::ffff]:80",
        "udp [fd00:10:96::ffff]:53",
        "tcp 10.244.1.3:80",
        "tcp 10.244.2.3:80",
        "tcp 172.18.0.2:22",
        "udp 172.18.0.2:5353",
        "tcp 172.18.0.3:30001",
        "tcp 192.0.2.9:80",
        "tcp [2001:db8:2::9]:80",
    ];
    for text in random.some(&strays, 2) {
        known.extend(text.parse::<Destination>().ok().map(|destination| (destination, Asked::default())));
    }
}
