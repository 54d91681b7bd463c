//! Packet lines: `10.244.1.5 -> tcp 10.96.132.79:80 => 10.244.2.15:9898`.
//!
//! A line names who sends, what, to where, and every outcome that is right. Several targets mean that the choice is
//! free, and that each of them must be chosen sooner or later.

mod outcome;
mod source;

use std::fmt;
use std::net::SocketAddr;

use services::Protocol;

use super::facts::Facts;
use super::text::{Line, ParseError, Word};

pub use outcome::{Outcome, Target};
pub use source::Source;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Probe {
    /// A new TCP connection: `tcp`.
    Tcp,
    /// A UDP datagram from a new port, or of a flow that goes on when the sender names its port: `udp`.
    Udp,
    /// A new SCTP association: `sctp`.
    Sctp,
    /// A UDP datagram that is longer than a packet may be, and its answer likewise: `udp-fragments`.
    Fragments,
    /// A TCP reset that belongs to no connection, as a late packet of a flow that is forgotten: `late-rst`.
    LateReset,
    /// The same with the end of a connection: `late-fin`.
    LateFin,
}

const PROBES: [(&str, Probe); 6] = [
    ("tcp", Probe::Tcp),
    ("udp", Probe::Udp),
    ("sctp", Probe::Sctp),
    ("udp-fragments", Probe::Fragments),
    ("late-rst", Probe::LateReset),
    ("late-fin", Probe::LateFin),
];

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
    pub destination: SocketAddr,
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

impl Packet {
    /// The nodes that see it before it is translated, in order: that of the sender, or by which it enters, and the one
    /// whose address the destination is.
    pub fn nodes<'a>(&self, facts: &'a Facts) -> impl Iterator<Item = &'a super::NodeFacts> {
        let first = self.source.node(facts);
        let to = self.destination.ip();
        let owner = facts.nodes.iter().find(|node| node.addresses.contains(&to));
        let owner = owner.filter(|owner| first.is_none_or(|first| first.name != owner.name));
        first.into_iter().chain(owner)
    }
}

impl Probe {
    /// The transport protocol.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Tcp | Self::LateReset | Self::LateFin => Protocol::Tcp,
            Self::Udp | Self::Fragments => Protocol::Udp,
            Self::Sctp => Protocol::Sctp,
        }
    }

    /// True for a packet that begins a flow.
    #[must_use]
    pub fn is_first(self) -> bool {
        !matches!(self, Self::LateReset | Self::LateFin)
    }
}

/// Reads one packet line: a case, or one for each pod of a row.
pub(super) fn parse(line: Line<'_>, facts: &Facts) -> Result<Vec<PacketCase>, ParseError> {
    let mut words = line.words();
    let senders = source::parse(&mut words, facts)?;
    let port = senders.first().and_then(|sender| sender.port);
    words.need_exactly("->")?;
    let probe = parse_probe(&words.need(probes())?, port)?;
    let what = "the destination as ADDRESS:PORT";
    let word = words.need(what)?;
    let destination = word.parse(what)?;
    let sources = senders.into_iter().map(|sender| sender.to(destination, &word, facts));
    let sources: Vec<Source> = sources.collect::<Result<_, _>>()?;
    words.need_exactly("=>")?;
    let outcome = outcome::parse(&mut words)?;
    words.finish()?;
    let case = |source| PacketCase {
        line: line.number,
        packet: Packet { source, port, probe, destination },
        outcome: outcome.clone(),
    };
    Ok(sources.into_iter().map(case).collect())
}

fn parse_probe(word: &Word<'_>, port: Option<u16>) -> Result<Probe, ParseError> {
    if port.is_some() && word.text != "udp" {
        return Err(word.expected("`udp`: only a UDP flow names its port"));
    }
    let known = PROBES.into_iter().find(|(name, _)| *name == word.text);
    known.map(|(_, probe)| probe).ok_or_else(|| word.expected(probes()))
}

fn probes() -> String {
    let names: Vec<String> = PROBES.iter().map(|(name, _)| format!("`{name}`")).collect();
    let (last, others) = names.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
    format!("{} or {last}", others.join(", "))
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = PROBES.into_iter().find(|(_, probe)| probe == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.source.with_port(self.port);
        write!(f, "{source} -> {} {}", self.probe, self.destination)
    }
}

impl fmt::Display for PacketCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} => {}", self.packet, self.outcome)
    }
}
