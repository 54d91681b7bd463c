//! A question on its way through the chain, and what comes back.

use std::net::SocketAddr;

use crate::answer::Transport;
use crate::message::records::{Record, Response};
use crate::message::{CLASS_IN, Query, rcode, rtype};
use crate::name::{labels, write_wire};

/// A question. Plugins change copies of it; the client's own stays in its packet.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    /// The name in lower-case wire form.
    pub(crate) name: Vec<u8>,
    /// The record type.
    pub(crate) kind: u16,
    /// The class.
    pub(crate) class: u16,
    /// RD.
    pub(crate) recursion: bool,
    /// AD: the client understands it in answers (RFC 6840 §5.7).
    pub(crate) authentic: bool,
    /// CD.
    pub(crate) unchecked: bool,
    /// The client speaks EDNS.
    pub(crate) edns: bool,
    /// DO.
    pub(crate) dnssec_ok: bool,
    /// The query's id, for the log and for templates.
    pub(crate) id: u16,
    /// Who asks.
    pub(crate) peer: SocketAddr,
    /// How the client asked.
    pub(crate) transport: Transport,
    /// How often the chain has asked itself; bounded, because rules can make circles.
    pub(crate) depth: u8,
}

/// What comes back from a plugin.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The answer, without OPT.
    pub(crate) response: Response,
    /// Who made it, for the metrics.
    pub(crate) plugin: &'static str,
    /// Why it is a failure, for the log of errors.
    pub(crate) error: Option<String>,
}

/// Times that the chain may ask itself for one query.
pub(crate) const DEPTH_MAX: u8 = 8;

impl Ask {
    /// The client's question.
    pub(crate) fn of(query: &Query<'_>, peer: SocketAddr, transport: Transport) -> Self {
        Self {
            name: query.name.wire().to_vec(),
            kind: query.qtype,
            class: query.qclass,
            recursion: query.bytes[2] & 0x01 != 0,
            authentic: query.bytes[3] & 0x20 != 0,
            unchecked: query.bytes[3] & 0x10 != 0,
            edns: query.edns.is_some(),
            dnssec_ok: query.edns.is_some_and(|edns| edns.dnssec_ok),
            id: u16::from_be_bytes([query.bytes[0], query.bytes[1]]),
            peer,
            transport,
            depth: 0,
        }
    }

    /// A question of our own about the root, without EDNS. `peer` is only for the log.
    pub(crate) fn own(peer: SocketAddr) -> Self {
        Self {
            name: vec![0],
            kind: rtype::NS,
            class: CLASS_IN,
            recursion: true,
            authentic: false,
            unchecked: false,
            edns: false,
            dnssec_ok: false,
            id: 0,
            peer,
            transport: Transport::Udp,
            depth: 0,
        }
    }

    /// The same question for another name, one level deeper; `None` when that is too deep.
    pub(crate) fn renamed(&self, name: Vec<u8>) -> Option<Self> {
        (self.depth < DEPTH_MAX).then(|| Self { name, depth: self.depth + 1, ..self.clone() })
    }

    /// The name as text with its final dot.
    pub(crate) fn text(&self) -> String {
        name_text(&self.name)
    }

    /// A packet that asks this. Options of the client's OPT record are left out: they are between it and us.
    pub(crate) fn packet(&self, id: u16) -> Vec<u8> {
        let mut packet = Vec::with_capacity(self.name.len() + 27);
        packet.extend(id.to_be_bytes());
        packet.push(u8::from(self.recursion));
        packet.push(if self.authentic { 0x20 } else { 0 } | if self.unchecked { 0x10 } else { 0 });
        packet.extend([0, 1, 0, 0, 0, 0, 0, u8::from(self.edns)]);
        packet.extend(&self.name);
        packet.extend(self.kind.to_be_bytes());
        packet.extend(self.class.to_be_bytes());
        if self.edns {
            // Root owner, OPT, 1232 bytes (DNS flag day 2020), version 0, DO as asked, no options.
            packet.extend([0, 0, 41, 0x04, 0xd0, 0, 0, if self.dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
        }
        packet
    }
}

impl Reply {
    /// An answer that is only a code.
    pub(crate) fn code(code: u16, plugin: &'static str) -> Self {
        Self { response: Response { rcode: code, ..Response::default() }, plugin, error: None }
    }

    /// SERVFAIL with its reason.
    pub(crate) fn failure(error: impl Into<String>, plugin: &'static str) -> Self {
        Self { error: Some(error.into()), ..Self::code(rcode::SERVFAIL, plugin) }
    }

    /// Records of our own.
    pub(crate) fn records(answers: Vec<Record>, plugin: &'static str) -> Self {
        let response = Response { authoritative: true, answers, ..Response::default() };
        Self { response, plugin, error: None }
    }
}

/// One record of class IN.
pub(crate) fn record(owner: &[u8], kind: u16, ttl: u32, data: Vec<u8>) -> Record {
    Record { owner: owner.to_vec(), kind, class: CLASS_IN, ttl, data }
}

/// A wire name as text with its final dot.
pub(crate) fn name_text(wire: &[u8]) -> String {
    let mut text = String::with_capacity(wire.len());
    // Writing to a String cannot fail.
    let _ = write_wire(&mut text, wire);
    text
}

/// True when the wire name lies in `zone`, whose wire form is lower case like the name's.
pub(crate) fn is_within(name: &[u8], zone: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(zone.len()) else { return false };
    let mut at = 0;
    for label in labels(name) {
        if at >= start {
            break;
        }
        at += label.len() + 1;
    }
    at == start && name[start..] == *zone
}

/// The zone among `zones` that the name is in, the longest; `None` when there is none.
pub(crate) fn zone_of<'z>(name: &[u8], zones: &'z [crate::name::Name]) -> Option<&'z crate::name::Name> {
    let matching = zones.iter().filter(|zone| is_within(name, zone.as_wire()));
    matching.max_by_key(|zone| zone.as_wire().len())
}

/// True for the types that a host's address is asked by.
pub(crate) fn is_address(kind: u16) -> bool {
    matches!(kind, rtype::A | rtype::AAAA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_means_whole_labels() {
        let wire = |text: &str| text.parse::<crate::name::Name>().unwrap().as_wire().to_vec();
        for (name, zone, expected) in [
            ("a.b", "b", true),
            ("a.b", ".", true),
            ("b", "b", true),
            ("ab", "b", false),
            ("b", "a.b", false),
            (".", ".", true),
        ] {
            assert_eq!(is_within(&wire(name), &wire(zone)), expected, "{name} {zone}");
        }
    }
}
