//! Packet lines: `10.244.1.5 -> tcp 10.96.132.79:80 => 10.244.2.15:9898`.
//!
//! A line names who sends, what, to where, and every outcome that is right. Several targets mean that the choice is
//! free, and that each of them must be chosen sooner or later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use services::Protocol;

use super::facts::Facts;
use super::text::{Line, ParseError, Word, Words};

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// A pod, by its address.
    Pod(Ipv4Addr),
    /// A process of the node itself, by the node's name.
    Node(String),
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// A new TCP connection.
    Tcp,
    /// A UDP datagram from a new port, or of a flow that goes on when the sender names its port.
    Udp,
    /// A TCP reset that belongs to no connection, as a late packet of a flow that is forgotten: `late-rst`.
    LateReset,
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Packet {
    /// Who sends.
    pub source: Source,
    /// From which port, for a UDP flow that goes on from step to step: the same port, the same flow.
    pub port: Option<u16>,
    /// What.
    pub probe: Probe,
    /// Where to.
    pub destination: SocketAddrV4,
}

/// Where a packet may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Address and port after translation.
    pub address: SocketAddrV4,
    /// True when the server must see the node's address instead of the client's.
    pub masquerade: bool,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrives at one of these, sorted.
    Targets(Vec<Target>),
    /// The sender is told at once that nobody is there.
    Reject,
    /// Nothing comes back and nothing leaves the node.
    Drop,
    /// A process of the node itself answers, without translation.
    Local,
}

/// A packet line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PacketCase {
    /// Line in the file, from 1.
    pub line: usize,
    /// The packet.
    pub packet: Packet,
    /// What must become of it.
    pub outcome: Outcome,
}

impl Probe {
    /// The transport protocol.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tcp | Self::LateReset => Protocol::Tcp,
            Self::Udp => Protocol::Udp,
        }
    }
}

/// Reads one packet line.
pub(super) fn parse(line: Line<'_>, facts: &Facts) -> Result<PacketCase, ParseError> {
    let mut words = line.words();
    let sender = words.need("the sender: a pod's address or a node's name")?;
    let (source, port) = parse_source(sender, facts)?;
    words.need_exactly("->")?;
    let probe = words.need("`tcp`, `udp` or `late-rst`")?;
    let probe = match probe.text {
        _ if port.is_some() && probe.text != "udp" => {
            return Err(probe.expected("`udp`: only a UDP flow names its port"));
        }
        "tcp" => Probe::Tcp,
        "udp" => Probe::Udp,
        "late-rst" => Probe::LateReset,
        _ => return Err(probe.expected("`tcp`, `udp` or `late-rst`")),
    };
    let destination =
        words.need("the destination as ADDRESS:PORT")?.parse("the destination as ADDRESS:PORT")?;
    words.need_exactly("=>")?;
    let outcome = parse_outcome(&mut words)?;
    words.finish()?;
    Ok(PacketCase { line: line.number, packet: Packet { source, port, probe, destination }, outcome })
}

fn parse_source(word: Word<'_>, facts: &Facts) -> Result<(Source, Option<u16>), ParseError> {
    if facts.node(word.text).is_some() {
        return Ok((Source::Node(word.text.to_owned()), None));
    }
    let what = "the sender: a pod's address or a node's name";
    let (address, port) = match word.text.parse::<SocketAddrV4>() {
        Ok(with_port) => (*with_port.ip(), Some(with_port.port())),
        Err(_) => (word.parse::<Ipv4Addr>(what)?, None),
    };
    match facts.node_of(IpAddr::V4(address)) {
        Some(node) if node.address != address => Ok((Source::Pod(address), port)),
        _ => Err(word.expected("an address of a node's pod network")),
    }
}

fn parse_outcome(words: &mut Words<'_>) -> Result<Outcome, ParseError> {
    let what = "`reject`, `drop`, `local` or targets as ADDRESS:PORT [masq] joined by `|`";
    let first = words.need(what)?;
    match first.text {
        "reject" => return Ok(Outcome::Reject),
        "drop" => return Ok(Outcome::Drop),
        "local" => return Ok(Outcome::Local),
        _ => {}
    }
    let mut targets = vec![parse_target(first, words, what)?];
    while words.take_exactly("|") {
        targets.push(parse_target(
            words.need("a target as ADDRESS:PORT")?,
            words,
            "a target as ADDRESS:PORT",
        )?);
    }
    targets.sort_unstable();
    Ok(Outcome::Targets(targets))
}

fn parse_target(word: Word<'_>, words: &mut Words<'_>, what: &str) -> Result<Target, ParseError> {
    Ok(Target { address: word.parse(what)?, masquerade: words.take_exactly("masq") })
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(address) => address.fmt(f),
            Self::Node(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probe = match self.probe {
            Probe::Tcp => "tcp",
            Probe::Udp => "udp",
            Probe::LateReset => "late-rst",
        };
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        write!(f, "{}{port} -> {probe} {}", self.source, self.destination)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, if self.masquerade { " masq" } else { "" })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Targets(targets) => {
                let targets: Vec<String> = targets.iter().map(Target::to_string).collect();
                f.write_str(&targets.join(" | "))
            }
            Self::Reject => f.write_str("reject"),
            Self::Drop => f.write_str("drop"),
            Self::Local => f.write_str("local"),
        }
    }
}

impl fmt::Display for PacketCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", self.packet, self.outcome)
    }
}
