//! The elements of our table's maps that hold one address, as `nft list` would print them: for `sluice trace`, which
//! shows by what the kernel decides.
//!
//! It knows nothing of the table's layout: the kernel keeps with each set which types its keys are made of, so an
//! element is printed from what the kernel itself says. It reads each map whole, streamed, and writes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::netlink::{Attributes, DUMP, Header, Received, Socket, Writer, request};
use crate::nftables::{CHAINS, SERVICES};
use crate::{NetlinkError, nftables};

/// `NFNL_SUBSYS_NFTABLES` and its messages.
const SUBSYSTEM: u16 = 10;
const NEWSET: u16 = 9;
const GETSET: u16 = 10;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// `NFT_DATA_VERDICT` as a value's type.
const VERDICT_TYPE: u32 = 0xffff_ff00;
/// Elements shown of one map: a Service with more endpoints is clear enough by them.
const SHOWN_MAX: usize = 64;

/// One element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapElement {
    /// The set or map that it is in.
    pub set: String,
    /// nft's text of it, `tcp . 10.96.1.1 . 80 : 5c00:3`.
    pub text: String,
}

/// The elements whose key holds `protocol . address . port`, in the order of the sets, and the one that says
/// which chain the service port's number stands for; the calling thread's network
/// namespace. None when there is no table of ours.
///
/// # Errors
/// When the kernel's state cannot be read: `EPERM` without `CAP_NET_ADMIN`.
pub fn elements_of(
    protocol: services::Protocol,
    address: IpAddr,
    port: u16,
) -> Result<Vec<MapElement>, NetlinkError> {
    let family = if address.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
    let mut socket = Socket::open()?;
    let mut found = Vec::new();
    let key = format!("{protocol} . {address} . {port}");
    for set in sets(&mut socket, family)? {
        let number = if set.name == CHAINS { number(&found) } else { Some(key.clone()) };
        let Some(key) = number else { continue };
        found.extend(elements(&mut socket, family, &set, &key)?);
    }
    Ok(found)
}

/// The number that stands for the service port's chain.
fn number(found: &[MapElement]) -> Option<String> {
    let service = found.iter().find(|element| element.set == SERVICES)?;
    service.text.rsplit_once(" : ").map(|(_, number)| number.to_owned())
}

/// A set and what its elements are made of.
struct Set {
    name: String,
    key: u32,
    value: Option<u32>,
}

fn header(message: u16, family: u8) -> Header {
    Header { kind: SUBSYSTEM << 8 | message, flags: DUMP, family }
}

fn sets(socket: &mut Socket, family: u8) -> Result<Vec<Set>, NetlinkError> {
    // NFTA_SET_TABLE, _NAME, _KEY_TYPE, _DATA_TYPE
    let ask = request(header(GETSET, family), |writer: &mut Writer| writer.text(1, nftables::TABLE));
    let listed = socket.collect("the list of sets", &ask, |message| {
        let set = message.attributes();
        let ours = message.kind == SUBSYSTEM << 8 | NEWSET && set.text(1) == Some(nftables::TABLE);
        ours.then_some(Set { name: set.text(2)?.to_owned(), key: set.u32(4)?, value: set.u32(6) })
    });
    match listed {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(Vec::new()),
        listed => listed,
    }
}

fn elements(socket: &mut Socket, family: u8, set: &Set, key: &str) -> Result<Vec<MapElement>, NetlinkError> {
    // NFTA_SET_ELEM_LIST_TABLE, _SET
    let ask = request(header(GETSETELEM, family), |writer: &mut Writer| {
        writer.text(1, nftables::TABLE);
        writer.text(2, &set.name);
    });
    let lists = socket.collect(&format!("the elements of {}", set.name), &ask, |message| {
        (message.kind == SUBSYSTEM << 8 | NEWSETELEM).then(|| matching(message, set, key))
    })?;
    let mut texts: Vec<String> = lists.into_iter().flatten().collect();
    texts.sort_by_key(|text| (text.len(), text.clone()));
    texts.truncate(SHOWN_MAX);
    Ok(texts.into_iter().map(|text| MapElement { set: set.name.clone(), text }).collect())
}

fn matching(message: &Received<'_>, set: &Set, key: &str) -> Vec<String> {
    // NFTA_SET_ELEM_LIST_ELEMENTS with NFTA_LIST_ELEM
    let elements = message.attributes().nested(3).filter(|(kind, _)| *kind == 1);
    let texts = elements.filter_map(|(_, element)| text(&Attributes::new(element), set));
    texts.filter(|text| holds(text, key)).collect()
}

/// Whole parts of a key: port 80 is not in 8080.
fn holds(text: &str, key: &str) -> bool {
    text.match_indices(key).any(|(at, _)| {
        let before = text[..at].is_empty() || text[..at].ends_with(' ');
        let rest = &text[at + key.len()..];
        before && (rest.is_empty() || rest.starts_with(' '))
    })
}

fn text(element: &Attributes<'_>, set: &Set) -> Option<String> {
    // NFTA_SET_ELEM_KEY, _DATA, each with NFTA_DATA_VALUE or NFTA_DATA_VERDICT
    let key = concatenation(set.key, element.nested(1).get(1)?);
    let data = element.nested(2);
    match set.value {
        None => Some(key),
        Some(VERDICT_TYPE) => Some(format!("{key} : {}", verdict(&data.nested(2)))),
        Some(kind) => Some(format!("{key} : {}", concatenation(kind, data.get(1)?))),
    }
}

/// `NFTA_VERDICT_CODE`, `_CHAIN`.
fn verdict(verdict: &Attributes<'_>) -> String {
    let chain = verdict.text(2).unwrap_or_default();
    match verdict.u32(1).map(u32::cast_signed) {
        Some(0) => "drop".to_owned(),
        Some(1) => "accept".to_owned(),
        Some(-3) => format!("jump {chain}"),
        Some(-4) => format!("goto {chain}"),
        _ => "?".to_owned(),
    }
}

/// The parts of a value; a concatenation's type is its parts' types, six bits each, and each part takes whole registers.
fn concatenation(kind: u32, mut bytes: &[u8]) -> String {
    let kinds = (0..5).rev().map(|place| kind >> (6 * place) & 0x3f).filter(|kind| *kind != 0);
    let mut parts = Vec::new();
    for kind in kinds {
        let length = part_length(kind).min(bytes.len());
        let (part, rest) = bytes.split_at(length);
        parts.push(part_text(kind, part));
        bytes = rest;
    }
    parts.join(" . ")
}

/// nft's ids of types.
const INTEGER: u32 = 4;
const IPV4: u32 = 7;
const IPV6: u32 = 8;
const PROTOCOL: u32 = 12;
const PORT: u32 = 13;
const PRIORITY: u32 = 23;

fn part_length(kind: u32) -> usize {
    if kind == IPV6 { 16 } else { 4 }
}

fn part_text(kind: u32, part: &[u8]) -> String {
    let known = match kind {
        IPV4 => part.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).to_string()),
        IPV6 => part.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_string()),
        PORT => part.first_chunk::<2>().map(|bytes| u16::from_be_bytes(*bytes).to_string()),
        // Numbers are in host order, as `numgen` makes them.
        INTEGER => part.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes).to_string()),
        PRIORITY => part.first_chunk().map(|bytes| priority(u32::from_ne_bytes(*bytes))),
        PROTOCOL => part.first().map(|number| protocol(*number)),
        _ => None,
    };
    let hexadecimal = || part.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}"));
    known.unwrap_or_else(hexadecimal)
}

/// As nft writes it: two halves.
fn priority(priority: u32) -> String {
    format!("{:x}:{:x}", priority >> 16, priority & 0xffff)
}

fn protocol(number: u8) -> String {
    match number {
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        132 => "sctp".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_printed_by_their_types() {
        let bytes = [6, 0, 0, 0, 10, 96, 1, 1, 0, 80, 0, 0];
        let kind = PROTOCOL << 12 | IPV4 << 6 | PORT;
        assert_eq!(concatenation(kind, &bytes), "tcp . 10.96.1.1 . 80");
        assert_eq!(concatenation(IPV4, &[10, 0, 0, 1]), "10.0.0.1");
        assert_eq!(concatenation(63, &[1, 2, 3, 4]), "0x01020304");
        assert_eq!(concatenation(kind, &[6]), "tcp . 0x . 0x");
    }

    #[test]
    fn a_key_is_whole_parts() {
        let key = "tcp . 10.96.1.1 . 80";
        assert!(holds("tcp . 10.96.1.1 . 80 . 2 : 10.244.1.2 . 9898", key));
        assert!(holds("0x01 . tcp . 10.96.1.1 . 80", key));
        assert!(!holds("tcp . 10.96.1.1 . 8080", key));
        assert!(!holds("sctp . 10.96.1.1 . 80", key));
    }
}
