//! Writes an answer for its client: under the client's id, with its question in its own case, compressed (RFC 1035
//! §4.1.4), cut at the size that it can take.

use std::collections::HashMap;

use crate::message::records::{Record, Response};
use crate::message::{Query, rtype};
use crate::name::labels;

/// UDP payload size that we take ourselves.
const OWN_UDP_BYTES: u16 = 1232;
/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;
/// Offsets that a compression pointer can hold.
const POINTER_MAX: usize = 0x3fff;

/// The message for the client that asked `query`, at most `size` bytes. Empty when not even the question fits.
pub(crate) fn encode(query: &Query<'_>, response: &Response, size: usize) -> Vec<u8> {
    let Some(question) = query.bytes.get(..query.question_end) else { return Vec::new() };
    let reserved = if query.edns.is_some() { OPT_BYTES } else { 0 };
    let Some(limit) = size.checked_sub(reserved).filter(|limit| question.len() <= *limit) else {
        return Vec::new();
    };
    let mut message = Message { bytes: question.to_vec(), names: HashMap::new(), limit };
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
    /// Where names and their ends were written, in lower case.
    names: HashMap<Vec<u8>, u16>,
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
            self.names.retain(|_, offset| usize::from(*offset) < start);
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
            if let Some(offset) = self.names.get(&rest.to_ascii_lowercase()) {
                self.bytes.extend((0xc000 | offset).to_be_bytes());
                return;
            }
            if let Some(offset) =
                u16::try_from(self.bytes.len()).ok().filter(|_| self.bytes.len() <= POINTER_MAX)
            {
                self.names.insert(rest.to_ascii_lowercase(), offset);
            }
            self.bytes.push(label.len() as u8);
            self.bytes.extend(label);
            at += label.len() + 1;
        }
        self.bytes.push(0);
    }

    /// Notes a name that stands in the message already.
    fn remember(&mut self, wire: &[u8], start: usize) {
        let mut at = 0;
        for label in labels(wire) {
            // A question begins at 12 and has at most 255 bytes.
            self.names.insert(wire[at..].to_ascii_lowercase(), (start + at) as u16);
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
