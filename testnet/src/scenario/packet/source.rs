//! Who sends a packet: a pod, a process of a node, or a client beyond the wire.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::scenario::facts::Facts;
use crate::scenario::text::{ParseError, Word, Words};

/// The networks of the clients that `outside` alone means, each node's its own (RFC 5737, RFC 3849).
const OUTSIDE: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 0), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));

const SENDERS: &str = "the sender: a pod's address, a node's name or `outside`";

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A pod, by its address.
    Pod(IpAddr),
    /// A process of the node itself, by the node's name.
    Node(String),
    /// A client that is not of the cluster; its packets enter it by a node.
    Outside {
        /// Its address.
        address: IpAddr,
        /// The node's name.
        entry: String,
    },
}

impl Source {
    /// The node that judges the packet first: the sender's, or the one by which it enters.
    #[must_use]
    pub fn node<'a>(&self, facts: &'a Facts) -> Option<&'a crate::scenario::NodeFacts> {
        match self {
            Self::Pod(address) => facts.node_of(*address),
            Self::Node(name) | Self::Outside { entry: name, .. } => facts.node(name),
        }
    }

    pub(super) fn with_port(&self, port: Option<u16>) -> String {
        match (self, port) {
            (source, None) => source.to_string(),
            (Self::Pod(address), Some(port)) => SocketAddr::new(*address, port).to_string(),
            (Self::Node(name), Some(port)) => format!("{name}:{port}"),
            (Self::Outside { address, entry }, Some(port)) => {
                format!("outside {} via {entry}", SocketAddr::new(*address, port))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(address) => address.fmt(f),
            Self::Node(name) => f.write_str(name),
            Self::Outside { address, entry } => write!(f, "outside {address} via {entry}"),
        }
    }
}

/// A sender as a line names it; what it leaves out depends on the destination.
#[derive(Clone)]
pub(super) struct Sender {
    named: Named,
    pub(super) port: Option<u16>,
}

#[derive(Clone)]
enum Named {
    Source(Source),
    Outside { address: Option<IpAddr>, entry: Option<String> },
}

/// One sender, or a row of pods: `10.244.1.20-39`.
pub(super) fn parse(words: &mut Words<'_>, facts: &Facts) -> Result<Vec<Sender>, ParseError> {
    let word = words.need(SENDERS)?;
    if word.text == "outside" {
        return Ok(vec![parse_outside(words, facts)?]);
    }
    let pods = parse_row(&word).unwrap_or_default();
    if pods.is_empty() {
        return Ok(vec![parse_one(&word, facts)?]);
    }
    if pods.iter().any(|pod| facts.nodes.iter().all(|node| !node.has_pod(*pod))) {
        return Err(word.expected("addresses of a node's pod network"));
    }
    Ok(pods.into_iter().map(|pod| Sender { named: Named::Source(Source::Pod(pod)), port: None }).collect())
}

/// `10.244.1.20-39`: so many IPv4 pods in a row.
fn parse_row(word: &Word<'_>) -> Option<Vec<IpAddr>> {
    let (first, last) = word.text.split_once('-')?;
    let (first, last): (Ipv4Addr, u8) = (first.parse().ok()?, last.parse().ok()?);
    let [a, b, c, first] = first.octets();
    Some((first..=last).map(|host| IpAddr::from([a, b, c, host])).collect())
}

fn parse_one(word: &Word<'_>, facts: &Facts) -> Result<Sender, ParseError> {
    let (name, port) = match word.text.rsplit_once(':').map(|(name, port)| (name, port.parse())) {
        Some((name, Ok(port))) => (name, Some(port)),
        _ => (word.text, None),
    };
    if facts.node(name).is_some() {
        return Ok(Sender { named: Named::Source(Source::Node(name.to_owned())), port });
    }
    let (address, port) = parse_address(word, SENDERS)?;
    match facts.node_of(address) {
        Some(node) if node.has_pod(address) => {
            Ok(Sender { named: Named::Source(Source::Pod(address)), port })
        }
        _ => Err(word.expected("an address of a node's pod network")),
    }
}

/// `ADDRESS` or `ADDRESS:PORT`.
fn parse_address(word: &Word<'_>, what: &str) -> Result<(IpAddr, Option<u16>), ParseError> {
    match word.text.parse::<SocketAddr>() {
        Ok(with_port) => Ok((with_port.ip(), Some(with_port.port()))),
        Err(_) => Ok((word.parse(what)?, None)),
    }
}

fn parse_outside(words: &mut Words<'_>, facts: &Facts) -> Result<Sender, ParseError> {
    let (mut address, mut port, mut entry) = (None, None, None);
    if let Some(word) = words.peek().filter(|word| !matches!(word.text, "via" | "->")) {
        words.take();
        let (own, own_port) = parse_address(&word, "the client's address, `via` or `->`")?;
        if facts.node_of(own).is_some() {
            return Err(word.expected("an address outside of the cluster"));
        }
        (address, port) = (Some(own), own_port);
    }
    if words.take_exactly("via") {
        let word = words.need("the name of a node")?;
        let node = facts.node(word.text).ok_or_else(|| word.expected("the name of a node"))?;
        entry = Some(node.name.clone());
    }
    Ok(Sender { named: Named::Outside { address, entry }, port })
}

impl Sender {
    /// The sender of a packet to `destination`, which `word` says.
    pub(super) fn to(
        self,
        destination: SocketAddr,
        word: &Word<'_>,
        facts: &Facts,
    ) -> Result<Source, ParseError> {
        let to = destination.ip();
        match self.named {
            Named::Source(source) => {
                let own = match &source {
                    Source::Pod(address) => Some(*address),
                    _ => source.node(facts).and_then(|node| node.address_to(to)),
                };
                let speaks = own.is_some_and(|own| own.is_ipv4() == to.is_ipv4());
                if speaks { Ok(source) } else { Err(word.expected("a destination of the sender's family")) }
            }
            Named::Outside { address, entry } => {
                if address.is_some_and(|address| address.is_ipv4() != to.is_ipv4()) {
                    return Err(word.expected("a destination of the sender's family"));
                }
                let of_node = facts.nodes.iter().find(|node| node.addresses.contains(&to));
                let entry = entry.or_else(|| of_node.map(|node| node.name.clone()));
                let entry =
                    entry.ok_or_else(|| word.expected("a node's address, or `via NODE` before the `->`"))?;
                let address = address.unwrap_or_else(|| default(to, &entry, facts));
                Ok(Source::Outside { address, entry })
            }
        }
    }
}

/// 192.0.2.1 for the first node, 192.0.2.2 for the second: a server beyond the wire answers each by its own way.
fn default(to: IpAddr, entry: &str, facts: &Facts) -> IpAddr {
    let number =
        facts.nodes.iter().zip(1u8..).find_map(|(node, number)| (node.name == entry).then_some(number));
    let number = number.unwrap_or_default();
    if to.is_ipv4() {
        Ipv4Addr::from(u32::from(OUTSIDE.0) + u32::from(number)).into()
    } else {
        Ipv6Addr::from(u128::from(OUTSIDE.1) + u128::from(number)).into()
    }
}
