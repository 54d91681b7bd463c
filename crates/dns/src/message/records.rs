//! Reads another server's answer: header, sections, names decompressed so that a record can be copied into a message of
//! ours or printed. Used off the hot path (forwarding, `lookup`, tests); it allocates.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::query::skip_name;
use super::{HEADER_BYTES, read_u16, read_u32, rtype};
use crate::name::{NAME_BYTES_MAX, write_wire};

/// One record, independent of the message that it came in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Owner in wire form, case as sent.
    pub owner: Vec<u8>,
    /// Type.
    pub kind: u16,
    /// Class.
    pub class: u16,
    /// Time to live in seconds.
    pub ttl: u32,
    /// Data, names in it decompressed.
    pub data: Vec<u8>,
}

/// An answer, read whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// Response code, with the upper bits of an OPT record.
    pub rcode: u16,
    /// The TC bit.
    pub truncated: bool,
    /// The AA bit.
    pub authoritative: bool,
    /// The RA bit.
    pub recursion_available: bool,
    /// The AD bit.
    pub authenticated: bool,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section.
    pub authority: Vec<Record>,
    /// Additional section, OPT included.
    pub additional: Vec<Record>,
}

/// Reads an answer. `None` when it is malformed.
#[must_use]
pub fn read_response(bytes: &[u8]) -> Option<Response> {
    if bytes.len() < HEADER_BYTES || bytes[2] & 0x80 == 0 {
        return None;
    }
    let mut at = HEADER_BYTES;
    for _ in 0..read_u16(bytes, 4)? {
        at = skip_name(bytes, at)? + 4;
    }
    let mut response = Response {
        rcode: u16::from(bytes[3] & 0x0f),
        truncated: bytes[2] & 0x02 != 0,
        authoritative: bytes[2] & 0x04 != 0,
        recursion_available: bytes[3] & 0x80 != 0,
        authenticated: bytes[3] & 0x20 != 0,
        ..Response::default()
    };
    response.answers = read_section(bytes, &mut at, read_u16(bytes, 6)?)?;
    response.authority = read_section(bytes, &mut at, read_u16(bytes, 8)?)?;
    response.additional = read_section(bytes, &mut at, read_u16(bytes, 10)?)?;
    if let Some(opt) = response.additional.iter().find(|record| record.kind == rtype::OPT) {
        response.rcode |= u16::try_from(opt.ttl >> 24).unwrap_or(0) << 4;
    }
    Some(response)
}

fn read_section(bytes: &[u8], at: &mut usize, count: u16) -> Option<Vec<Record>> {
    // A record takes at least 11 bytes, so a false count cannot make us reserve much.
    let mut records = Vec::with_capacity(usize::from(count).min(bytes.len() / 11));
    for _ in 0..count {
        let (owner, fixed) = read_name(bytes, *at)?;
        let length = usize::from(read_u16(bytes, fixed + 8)?);
        let start = fixed + 10;
        *at = start + length;
        let (kind, class) = (read_u16(bytes, fixed)?, read_u16(bytes, fixed + 2)?);
        let data = read_data(bytes.get(..*at)?, start, kind)?;
        records.push(Record { owner, kind, class, ttl: read_u32(bytes, fixed + 4)?, data });
    }
    Some(records)
}

/// The data of a record that ends with `bytes`. Names are decompressed in the types of RFC 1035 and in SRV and DNAME,
/// which older servers compress (RFC 3597 §4).
fn read_data(bytes: &[u8], start: usize, kind: u16) -> Option<Vec<u8>> {
    let (prefix, names) = match kind {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => (0, 1),
        rtype::MX => (2, 1),
        rtype::SRV => (6, 1),
        rtype::SOA => (0, 2),
        _ => (bytes.len() - start, 0),
    };
    let mut data = bytes.get(start..start + prefix)?.to_vec();
    let mut at = start + prefix;
    for _ in 0..names {
        let (name, end) = read_name(bytes, at)?;
        data.extend(name);
        at = end;
    }
    data.extend(bytes.get(at..)?);
    Some(data)
}

/// Reads a name and follows its pointers, which must each point further back: so it ends. Returns the name and the
/// offset behind it.
pub(crate) fn read_name(bytes: &[u8], start: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::with_capacity(32);
    let (mut at, mut earliest, mut end) = (start, start, None);
    loop {
        let length = usize::from(*bytes.get(at)?);
        match length {
            0 => {
                name.push(0);
                return Some((name, end.unwrap_or(at + 1)));
            }
            1..=63 => {
                name.extend(bytes.get(at..=at + length)?);
                at += length + 1;
                if name.len() >= NAME_BYTES_MAX {
                    return None;
                }
            }
            0xc0.. => {
                end.get_or_insert(at + 2);
                let target = usize::from(read_u16(bytes, at)? & 0x3fff);
                if target >= earliest {
                    return None;
                }
                (at, earliest) = (target, target);
            }
            _ => return None,
        }
    }
}

impl fmt::Display for Record {
    /// The form of a zone file: `name ttl IN TYPE data`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wire(f, &self.owner)?;
        write!(f, " {} IN {} ", self.ttl, kind_name(self.kind))?;
        self.write_data(f).unwrap_or_else(|| write!(f, "\\# {}", self.data.len()))
    }
}

impl Record {
    /// The data as text, or `None` when it does not have the form that its type promises.
    #[must_use]
    pub fn data_text(&self) -> Option<String> {
        let mut text = String::new();
        self.write_data(&mut text)?.ok()?;
        Some(text)
    }

    fn write_data(&self, f: &mut impl fmt::Write) -> Option<fmt::Result> {
        let data = &self.data[..];
        Some(match self.kind {
            rtype::A => write!(f, "{}", Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
            rtype::AAAA => write!(f, "{}", Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
            rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => write_wire(f, data),
            rtype::TXT => write_strings(f, data),
            rtype::SRV => {
                let number = |at| read_u16(data, at);
                let (priority, weight, port) = (number(0)?, number(2)?, number(4)?);
                write!(f, "{priority} {weight} {port} ").and_then(|()| write_wire(f, &data[6..]))
            }
            rtype::SOA => return write_soa(f, data),
            _ => return None,
        })
    }
}

fn write_strings(f: &mut impl fmt::Write, mut data: &[u8]) -> fmt::Result {
    let mut separator = "";
    while let Some((&length, rest)) = data.split_first() {
        let (text, rest) = rest.split_at(usize::from(length).min(rest.len()));
        write!(f, "{separator}\"{}\"", text.escape_ascii())?;
        (separator, data) = (" ", rest);
    }
    Ok(())
}

fn write_soa(f: &mut impl fmt::Write, data: &[u8]) -> Option<fmt::Result> {
    let (primary, at) = read_name(data, 0)?;
    let (mailbox, at) = read_name(data, at)?;
    let number = |index: usize| read_u32(data, at + 4 * index);
    let numbers = [number(0)?, number(1)?, number(2)?, number(3)?, number(4)?];
    let write = |f: &mut dyn fmt::Write| {
        write_wire(&mut &mut *f, &primary)?;
        f.write_char(' ')?;
        write_wire(&mut &mut *f, &mailbox)?;
        numbers.iter().try_for_each(|number| write!(f, " {number}"))
    };
    let mut text = String::new();
    Some(write(&mut text).and_then(|()| f.write_str(&text)))
}

/// Mnemonic of a record type; `TYPE<n>` for those without one here (RFC 3597 §5).
#[must_use]
pub fn kind_name(kind: u16) -> String {
    let known = KINDS.iter().find(|(number, _)| *number == kind);
    known.map_or_else(|| format!("TYPE{kind}"), |(_, name)| (*name).to_owned())
}

/// The number of a mnemonic, upper or lower case.
#[must_use]
pub fn kind_number(name: &str) -> Option<u16> {
    let known = KINDS.iter().find(|(_, known)| known.eq_ignore_ascii_case(name));
    known.map(|(number, _)| *number).or_else(|| name.strip_prefix("TYPE")?.parse().ok())
}

const KINDS: [(u16, &str); 24] = [
    (rtype::A, "A"),
    (rtype::NS, "NS"),
    (rtype::CNAME, "CNAME"),
    (rtype::SOA, "SOA"),
    (rtype::PTR, "PTR"),
    (13, "HINFO"),
    (rtype::MX, "MX"),
    (rtype::TXT, "TXT"),
    (rtype::AAAA, "AAAA"),
    (rtype::SRV, "SRV"),
    (rtype::DNAME, "DNAME"),
    (rtype::OPT, "OPT"),
    (rtype::IXFR, "IXFR"),
    (rtype::AXFR, "AXFR"),
    (255, "ANY"),
    (35, "NAPTR"),
    (43, "DS"),
    (46, "RRSIG"),
    (48, "DNSKEY"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (257, "CAA"),
];

/// The last number of a SOA record's data: the lifetime of denials (RFC 2308 §4).
pub(crate) fn read_soa_minimum(data: &[u8]) -> Option<u32> {
    read_u32(data, data.len().checked_sub(4)?)
}

/// The code of a mnemonic, upper or lower case.
#[must_use]
pub fn rcode_number(name: &str) -> Option<u16> {
    let mut codes = (0..=16).filter(|code| rcode_name(*code) != "RESERVED");
    codes.find(|code| rcode_name(*code).eq_ignore_ascii_case(name))
}

/// The code's mnemonic, as `dig` prints it.
#[must_use]
pub fn rcode_name(code: u16) -> &'static str {
    match code {
        super::rcode::NOERROR => "NOERROR",
        super::rcode::FORMERR => "FORMERR",
        super::rcode::SERVFAIL => "SERVFAIL",
        super::rcode::NXDOMAIN => "NXDOMAIN",
        super::rcode::NOTIMP => "NOTIMP",
        super::rcode::REFUSED => "REFUSED",
        super::rcode::BADVERS => "BADVERS",
        _ => "RESERVED",
    }
}
