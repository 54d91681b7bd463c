//! `local` and `any`: answers that need no knowledge of the network, as CoreDNS gives them.

use super::ask::{Ask, Reply, is_within, record};
use crate::message::records::Response;
use crate::message::rtype;
use crate::name::labels;

/// Lifetime of what is said about the machine itself, in seconds: a week.
const TTL: u32 = 604_800;
/// Lifetime of the answer to ANY, in seconds.
const ANY_TTL: u32 = 8482;
/// HINFO's number, and that of the type ANY.
const HINFO: u16 = 13;
const ANY: u16 = 255;

const LOCALHOST: &[u8] = b"\x09localhost\0";
const ZONES: [&[u8]; 4] = [
    LOCALHOST,
    b"\x010\x07in-addr\x04arpa\0",
    b"\x03127\x07in-addr\x04arpa\0",
    b"\x03255\x07in-addr\x04arpa\0",
];
const LOOPBACK: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\0";

/// The one record that stands for all of a name's (RFC 8482), for queries that want all.
pub(super) fn any(ask: &Ask) -> Option<Reply> {
    let data = b"\x0dANY obsoleted\x0cSee RFC 8482".to_vec();
    let answers = vec![record(&ask.name, HINFO, ANY_TTL, data)];
    (ask.kind == ANY).then(|| Reply {
        response: Response { answers, ..Response::default() },
        plugin: "any",
        error: None,
    })
}

/// What is said of the machine itself: names that begin or end with `localhost`, and the reverse of 0, 127 and 255.
pub(super) fn local(ask: &Ask) -> Option<Reply> {
    let first = labels(&ask.name).next() == Some(b"localhost");
    let zone = ZONES.iter().find(|zone| is_within(&ask.name, zone));
    if !first && zone.is_none() {
        return None;
    }
    let one = |kind, data: &[u8]| vec![record(&ask.name, kind, TTL, data.to_vec())];
    let is_apex = zone.is_some_and(|zone| *zone == &ask.name[..]);
    let answers = match ask.kind {
        rtype::A if first => one(rtype::A, &[127, 0, 0, 1]),
        rtype::AAAA if first => one(rtype::AAAA, &std::net::Ipv6Addr::LOCALHOST.octets()),
        rtype::NS if is_apex => one(rtype::NS, LOCALHOST),
        rtype::SOA if is_apex => one(rtype::SOA, &soa()),
        rtype::PTR if ask.name == LOOPBACK => one(rtype::PTR, LOCALHOST),
        _ => Vec::new(),
    };
    let authority = if answers.is_empty() { one(rtype::SOA, &soa()) } else { Vec::new() };
    let response = Response { answers, authority, ..Response::default() };
    Some(Reply { response, plugin: "local", error: None })
}

fn soa() -> Vec<u8> {
    let mut data = [LOCALHOST, b"\x04root\x09localhost\0"].concat();
    // Serial, refresh, retry, expire, minimum.
    [1, 0, 0, 0, TTL].iter().for_each(|number: &u32| data.extend(number.to_be_bytes()));
    data
}
