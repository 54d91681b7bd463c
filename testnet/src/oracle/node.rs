//! The node that is asked: a namespace with two wires that are files, so that packets are put on them and read off by hand.
//!
//! One leads to the node's own pods, `wire0` to everything else. What the node delivers to itself is seen by raw
//! sockets. All of it happens within the call that sends a packet, so nothing is ever waited for but silence.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use super::answer::{Answer, Fate, Seen};
use super::packet::{self, First, Sighting};
use super::question::{Destination, Question, Sender};
use super::site::Site;
use crate::cluster::{self, Namespace};

mod raw;
mod tun;

pub use super::packet::Form;
use raw::RawSockets;

/// A node forwards, trusts no path more than another, refuses without limits of rate, and soon forgets a flow that had no
/// answer, before its port comes round again.
const SYSCTLS: [(&str, &str); 14] = [
    ("ipv4/ip_forward", "1"),
    ("ipv6/conf/all/forwarding", "1"),
    ("ipv4/conf/all/rp_filter", "0"),
    ("ipv4/conf/default/rp_filter", "0"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv4/icmp_ratemask", "0"),
    ("ipv6/icmp/ratelimit", "0"),
    // The type that is limited; by default all but two are.
    ("ipv6/icmp/ratemask", "128"),
    ("netfilter/nf_conntrack_tcp_timeout_syn_sent", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_close", "1"),
    ("netfilter/nf_conntrack_udp_timeout", "1"),
    ("netfilter/nf_conntrack_sctp_timeout_cookie_wait", "1"),
    ("netfilter/nf_conntrack_sctp_timeout_closed", "1"),
];

/// Packets of a question before a fate that was not seen is believed impossible, for each that was.
const PACKETS_PER_FATE: usize = 24;

/// Senders that are asked twice, to see whether they meet the same endpoint again.
const TWICE: usize = 24;

/// How long nothing must come for a packet to be lost.
const SILENCE: Duration = Duration::from_millis(1);

/// A node that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No namespace.
    #[error("no namespace for the node")]
    Namespace(#[from] cluster::Error),
    /// A part of the node.
    #[error("cannot set up {what} of the node")]
    SetUp {
        /// Which.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// How a packet comes to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A process of the node sends it.
    Own,
    /// From one of its pods.
    Pods,
    /// From anywhere else.
    Wire,
}

/// The node.
#[derive(Debug)]
pub struct Node {
    namespace: Namespace,
    site: Site,
    /// To the pods, and `wire0`.
    wires: [File; 2],
    own: RawSockets,
    sent: u32,
}

impl Node {
    /// Makes the node.
    ///
    /// # Errors
    /// The step that failed: it needs `/dev/net/tun`, raw sockets and the program `ip`.
    pub fn start(site: &Site) -> Result<Self, Error> {
        let namespace = Namespace::create("the node that is asked")?;
        let inside = site.clone();
        let (wires, own) = namespace.run(move || set_up(&inside))??;
        Ok(Self { namespace, site: site.clone(), wires, own, sent: 0 })
    }

    /// What it is made of.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Sends as many packets as it takes to know what becomes of them; `number` is the question's among the set's.
    ///
    /// # Errors
    /// A packet could not be sent.
    pub fn ask(&mut self, question: &Question, number: usize) -> io::Result<Answer> {
        let sources = question.sender.addresses(question.destination.address.is_ipv4(), number);
        self.ask_from(self.way(question.sender), &sources, question.destination)
    }

    /// How a sender's packets come to the node.
    #[must_use]
    pub fn way(&self, sender: Sender) -> Way {
        match sender {
            Sender::Node => Way::Own,
            Sender::Pod => Way::Pods,
            Sender::Endpoint(address) if self.site.has_pod(address) => Way::Pods,
            _ => Way::Wire,
        }
    }

    /// Changes how long the node remembers a UDP flow that has no answer.
    ///
    /// # Errors
    /// The namespace cannot be entered or the kernel refuses.
    pub fn remember_udp(&self, time: Duration) -> Result<(), Error> {
        let path = "/proc/sys/net/netfilter/nf_conntrack_udp_timeout";
        let written = self.namespace.run(move || fs::write(path, time.as_secs().to_string()))?;
        written.map_err(|source| Error::SetUp { what: path.to_owned(), source })
    }

    /// The same for senders of one's own choice.
    ///
    /// # Errors
    /// A packet could not be sent.
    pub fn ask_from(&mut self, way: Way, sources: &[IpAddr], to: Destination) -> io::Result<Answer> {
        let few = &sources[..sources.len().min(TWICE)];
        let mut met = vec![BTreeSet::new(); sources.len()];
        for round in 0.. {
            let seen: BTreeSet<Fate> = met.iter().flatten().copied().collect();
            let forwarded = seen.iter().any(|fate| matches!(fate, Fate::Forward(..)));
            if round >= if forwarded { (PACKETS_PER_FATE * seen.len()).max(2 * TWICE) } else { 4 } {
                break;
            }
            let place = round % few.len();
            met[place].insert(self.send(way, few[place], to)?);
        }
        let several = met.iter().flatten().collect::<BTreeSet<_>>().len() > 1;
        let sticky = several && met[..few.len()].iter().all(|fates| fates.len() == 1);
        for place in few.len()..if sticky { sources.len() } else { few.len() } {
            met[place].insert(self.send(way, sources[place], to)?);
        }
        Ok(Answer { fates: met.into_iter().flatten().collect(), sticky })
    }

    /// Sends one packet and says where it went.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn send(&mut self, way: Way, source: IpAddr, to: Destination) -> io::Result<Fate> {
        // A new port each time, so that each packet is a new flow.
        let port = 1024 + (self.sent % 60_000) as u16;
        self.send_from(way, SocketAddr::new(source, port), to)
    }

    /// The same from a port of one's own.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn send_from(&mut self, way: Way, source: SocketAddr, to: Destination) -> io::Result<Fate> {
        self.send_form(way, source, to, Form::Opening)
    }

    /// The same with a packet of any kind.
    ///
    /// # Errors
    /// It could not be sent.
    pub fn send_form(
        &mut self,
        way: Way,
        source: SocketAddr,
        to: Destination,
        form: Form,
    ) -> io::Result<Fate> {
        self.sent += 1;
        let number = self.sent;
        let first = First { protocol: to.protocol, source, destination: to.address, number, form };
        match way {
            Way::Own => self.own.send(&first)?,
            Way::Pods => first.packets().iter().try_for_each(|packet| self.wires[0].write_all(packet))?,
            Way::Wire => first.packets().iter().try_for_each(|packet| self.wires[1].write_all(packet))?,
        }
        if let Some(fate) = self.observe(way, &first) {
            return Ok(fate);
        }
        thread::sleep(SILENCE);
        Ok(self.observe(way, &first).unwrap_or(Fate::Drop))
    }

    /// Empties all that can be read. Where the packet itself is seen, a refusal is a closed port's.
    fn observe(&mut self, way: Way, first: &First) -> Option<Fate> {
        let (mut seen, mut buffer) = (Vec::new(), [0; 2048]);
        for wire in &mut self.wires {
            while let Ok(length) = wire.read(&mut buffer) {
                seen.extend(packet::read(&buffer[..length]));
            }
        }
        self.own.receive(first.source.is_ipv4(), &mut |sighting| seen.push(sighting));
        // Reassembled, or its first part: told by what begins a flow.
        let form = if first.form == Form::Fragments { Form::Opening } else { first.form };
        let arrived = seen.iter().find_map(|sighting| match sighting {
            Sighting::First(other) if other.number == first.number && other.form == form => {
                Some(self.fate(way, first, other))
            }
            _ => None,
        });
        let refused = seen.iter().any(|sighting| match sighting {
            Sighting::Refusal(number) => *number == first.number,
            // A FIN is refused by a reset that takes up its acknowledgement.
            Sighting::First(other) => other.number == first.number && other.form == Form::Reset,
        });
        arrived.or_else(|| refused.then_some(Fate::Reject))
    }

    fn fate(&self, way: Way, first: &First, arrived: &First) -> Fate {
        let source = arrived.source.ip();
        let seen = match source {
            _ if source == first.source.ip() => Seen::Sender,
            // Any of the node's addresses is its own: which one it takes is the route's choice.
            _ if way == Way::Own && self.site.is_own(source) => Seen::Sender,
            _ if self.site.is_own(source) => Seen::Node,
            _ => Seen::Other(source),
        };
        if arrived.destination == first.destination && seen == Seen::Sender {
            return Fate::Pass;
        }
        Fate::Forward(arrived.destination, seen)
    }
}

fn set_up(site: &Site) -> Result<([File; 2], RawSockets), Error> {
    let failed = |what: &str| {
        let what = what.to_owned();
        |source| Error::SetUp { what, source }
    };
    for (path, value) in SYSCTLS {
        fs::write(format!("/proc/sys/net/{path}"), value).map_err(failed(path))?;
    }
    let pods = tun::create(&site.pods_device).map_err(failed("the pods' wire"))?;
    let wire = tun::create("wire0").map_err(failed("the other wire"))?;
    configure(&site.network()).map_err(failed("addresses and routes"))?;
    Ok(([pods, wire], RawSockets::open().map_err(failed("raw sockets"))?))
}

fn configure(commands: &str) -> io::Result<()> {
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = ip.stdin.take() {
        stdin.write_all(commands.as_bytes())?;
    }
    if ip.wait()?.success() { Ok(()) } else { Err(io::Error::other("the program ip failed")) }
}
