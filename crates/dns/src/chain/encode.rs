//! Writes an answer for its client: under the client's id, with its question in its own case, compressed (RFC 1035
//! §4.1.4), cut at the size that it can take.

use crate::message::records::{Record, Response};
use crate::message::{Query, rtype};
use crate::name::labels;

/// UDP payload size that we take ourselves.
const OWN_UDP_BYTES: u16 = 1232;
/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;
/// Offsets that a compression pointer can hold.
const POINTER_MAX: usize = 0x3fff;
/// What most answers fit in, beside the question, and the names of most.
const ROOM_BYTES: usize = 256;
const NAMES_FEW: usize = 16;
/// Names that are remembered, so that a search for one is short; more are written in full.
const NAMES_MAX: usize = 128;

/// The message for the client that asked `query`, at most `size` bytes. Empty when not even the question fits.
pub(crate) fn encode(query: &Query<'_>, response: &Response, size: usize) -> Vec<u8> {
    let Some(question) = query.bytes.get(..query.question_end) else { return Vec::new() };
    let reserved = if query.edns.is_some() { OPT_BYTES } else { 0 };
    let Some(limit) = size.checked_sub(reserved).filter(|limit| question.len() <= *limit) else {
        return Vec::new();
    };
    let mut bytes = Vec::with_capacity(question.len() + ROOM_BYTES);
    bytes.extend(question);
    let mut message = Message { bytes, names: Vec::with_capacity(NAMES_FEW), limit };
    message.remember(query.name.wire(), crate::message::HEADER_BYTES);
    let (mut counts, mut cut) = ([0_u16; 3], response.truncated);
    for (section, records) in
        [&response.answers, &response.authority, &response.additional].iter().enumerate()
    {
        for record in records.iter().filter(|record| record.kind != rtype::OPT) {
            if !message.record(record) {
                // What is only additional may be left out silently (RFC 2181 §9).
                cut |= section < 2;
                break;
            }
            counts[section] += 1;
        }
    }
    message.finish(query, response, counts, cut)
}

struct Message {
    bytes: Vec<u8>,
    /// Where names and their ends were written.
    names: Vec<u16>,
    limit: usize,
}

impl Message {
    /// Writes a whole record, or nothing and false.
    fn record(&mut self, record: &Record) -> bool {
        let start = self.bytes.len();
        self.name(&record.owner);
        self.bytes.extend(record.kind.to_be_bytes());
        self.bytes.extend(record.class.to_be_bytes());
        self.bytes.extend(record.ttl.to_be_bytes());
        let length_at = self.bytes.len();
        self.bytes.extend([0, 0]);
        self.data(record);
        let length = self.bytes.len() - length_at - 2;
        if self.bytes.len() > self.limit || length > usize::from(u16::MAX) {
            self.bytes.truncate(start);
            self.names.retain(|offset| usize::from(*offset) < start);
            return false;
        }
        self.bytes[length_at..length_at + 2].copy_from_slice(&(length as u16).to_be_bytes());
        true
    }

    /// The data; names in it are compressed in the types of RFC 1035 only (RFC 3597 §4).
    fn data(&mut self, record: &Record) {
        let data = &record.data[..];
        match record.kind {
            rtype::NS | rtype::CNAME | rtype::PTR => self.name(data),
            rtype::MX if data.len() > 2 => {
                self.bytes.extend(&data[..2]);
                self.name(&data[2..]);
            }
            rtype::SOA => {
                let first = name_length(data);
                let second = first + name_length(&data[first..]);
                self.name(&data[..first]);
                self.name(&data[first..second]);
                self.bytes.extend(&data[second..]);
            }
            _ => self.bytes.extend(data),
        }
    }

    /// A name, with a pointer for the longest end that was written before.
    fn name(&mut self, wire: &[u8]) {
        let mut at = 0;
        for label in labels(wire) {
            let rest = &wire[at..];
            if let Some(offset) = self.names.iter().find(|offset| self.is_at(usize::from(**offset), rest)) {
                self.bytes.extend((0xc000 | offset).to_be_bytes());
                return;
            }
            self.note(self.bytes.len());
            self.bytes.push(label.len() as u8);
            self.bytes.extend(label);
            at += label.len() + 1;
        }
        self.bytes.push(0);
    }

    /// Notes that a name begins here.
    fn note(&mut self, offset: usize) {
        if offset <= POINTER_MAX && self.names.len() < NAMES_MAX {
            self.names.push(offset as u16);
        }
    }

    /// True when this name, in whatever case, was written at the offset.
    fn is_at(&self, mut offset: usize, name: &[u8]) -> bool {
        let mut at = 0;
        // Pointers of ours point back to names, so this ends.
        while let Some(length) = self.bytes.get(offset).copied() {
            if length & 0xc0 == 0xc0 {
                let low = self.bytes.get(offset + 1).copied().unwrap_or(0);
                offset = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                continue;
            }
            let end = usize::from(length) + 1;
            let [Some(written), Some(label)] = [self.bytes.get(offset..offset + end), name.get(at..at + end)]
            else {
                return false;
            };
            if !written.eq_ignore_ascii_case(label) {
                return false;
            }
            if length == 0 {
                return true;
            }
            (offset, at) = (offset + end, at + end);
        }
        false
    }

    /// Notes a name that stands in the message already.
    fn remember(&mut self, wire: &[u8], start: usize) {
        let mut at = 0;
        for label in labels(wire) {
            self.note(start + at);
            at += label.len() + 1;
        }
    }

    fn finish(mut self, query: &Query<'_>, response: &Response, mut counts: [u16; 3], cut: bool) -> Vec<u8> {
        if let Some(edns) = query.edns {
            let [kind, size] = [rtype::OPT.to_be_bytes(), OWN_UDP_BYTES.to_be_bytes()];
            let extended = (response.rcode >> 4) as u8;
            let flags = if edns.dnssec_ok { 0x80 } else { 0 };
            self.bytes.extend([0, kind[0], kind[1], size[0], size[1], extended, 0, flags, 0, 0, 0]);
            counts[2] += 1;
        }
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        // QR, opcode and RD as asked, AA, TC; RA, AD, CD as asked, the code.
        self.bytes[2] = 0x80 | (query.bytes[2] & 0x79) | bit(response.authoritative, 0x04) | bit(cut, 0x02);
        let wants_ad = query.bytes[3] & 0x20 != 0 || query.edns.is_some_and(|edns| edns.dnssec_ok);
        self.bytes[3] = bit(response.recursion_available, 0x80)
            | bit(response.authenticated && wants_ad, 0x20)
            | (query.bytes[3] & 0x10)
            | (response.rcode & 0x0f) as u8;
        self.bytes[4..6].copy_from_slice(&1_u16.to_be_bytes());
        for (index, count) in counts.iter().enumerate() {
            self.bytes[6 + 2 * index..8 + 2 * index].copy_from_slice(&count.to_be_bytes());
        }
        self.bytes
    }
}

/// Bytes of the uncompressed name that `data` begins with, at most all of them.
fn name_length(data: &[u8]) -> usize {
    let length: usize = labels(data).map(|label| label.len() + 1).sum();
    (length + 1).min(data.len())
}
