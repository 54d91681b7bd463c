//! Reads one query. Strict where an error could be used against us (bounds, pointers, counts), tolerant where real
//! clients are sloppy (bytes after the message, unknown EDNS options).

use std::ops::Range;

use super::{HEADER_BYTES, read_u16, rtype};
use crate::name::{LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// Most labels that fit a name: 127 of one byte, and the root.
const LABELS_MAX: usize = 128;

/// What the OPT record of a query says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns {
    /// UDP payload size that the client can take, at least 512.
    pub udp_size: u16,
    /// EDNS version; only 0 exists.
    pub version: u8,
    /// The DO bit: wants DNSSEC records.
    pub dnssec_ok: bool,
}

/// Why a packet gets no real answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too short for a header, or not a query: any reply could start a loop.
    Silent,
    /// A reply with this code, and with the question up to this offset when it could be read.
    Reply {
        /// The response code.
        rcode: u16,
        /// Where the question ends; `None` leaves the question out.
        question_end: Option<usize>,
    },
}

/// One query with its single question, read in place.
#[derive(Debug)]
pub struct Query<'a> {
    /// The whole packet.
    pub bytes: &'a [u8],
    /// The name asked for.
    pub name: QueryName,
    /// The type asked for.
    pub qtype: u16,
    /// The class asked for.
    pub qclass: u16,
    /// Where the question ends in `bytes`.
    pub question_end: usize,
    /// The OPT record, when there is one.
    pub edns: Option<Edns>,
}

/// The name of a question in lower case, with the offset of each label.
#[derive(Clone, Debug)]
pub struct QueryName {
    wire: [u8; NAME_BYTES_MAX],
    length: u8,
    starts: [u8; LABELS_MAX],
    count: u8,
}

impl QueryName {
    fn blank() -> Self {
        Self { wire: [0; NAME_BYTES_MAX], length: 0, starts: [0; LABELS_MAX], count: 0 }
    }

    /// Reads an uncompressed name at `at`: a question never needs a pointer. `None` when it is not one.
    pub(crate) fn read(bytes: &[u8], at: usize) -> Option<Self> {
        let mut name = Self::blank();
        name.read_at(bytes, at)?;
        Some(name)
    }

    fn read_at(&mut self, bytes: &[u8], at: usize) -> Option<()> {
        (self.length, self.count) = (0, 0);
        let rest = bytes.get(at..)?;
        let mut offset = 0_usize;
        loop {
            let length = usize::from(*rest.get(offset)?);
            if length > LABEL_BYTES_MAX || offset + length + 1 > NAME_BYTES_MAX {
                return None;
            }
            if length == 0 {
                break;
            }
            *self.starts.get_mut(usize::from(self.count))? = u8::try_from(offset).ok()?;
            self.count += 1;
            offset += length + 1;
        }
        let source = rest.get(..=offset)?;
        // Length bytes are below 64 and letters above, so the whole name is lowered at once.
        for (to, from) in self.wire.iter_mut().zip(source) {
            *to = from.to_ascii_lowercase();
        }
        self.length = u8::try_from(source.len()).ok()?;
        Some(())
    }

    /// The lower-case wire form with the root label.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.wire[..usize::from(self.length)]
    }

    /// Number of labels without the root.
    #[must_use]
    pub fn label_count(&self) -> usize {
        usize::from(self.count)
    }

    /// Offset of label `index` in the wire form; that of the root label when `index` is the number of labels.
    #[must_use]
    pub fn start(&self, index: usize) -> usize {
        let root = usize::from(self.length).saturating_sub(1);
        self.starts[..self.label_count()].get(index).map_or(root, |start| usize::from(*start))
    }

    /// The text of label `index`, empty beyond the last.
    #[must_use]
    pub fn label(&self, index: usize) -> &[u8] {
        if index >= self.label_count() {
            return &[];
        }
        &self.wire()[self.start(index) + 1..self.start(index + 1)]
    }

    /// The wire form of a range of labels, length bytes included and without a root label.
    #[must_use]
    pub fn labels(&self, range: Range<usize>) -> &[u8] {
        self.wire().get(self.start(range.start)..self.start(range.end)).unwrap_or_default()
    }

    /// The wire form from label `index` to the root.
    #[must_use]
    pub fn suffix(&self, index: usize) -> &[u8] {
        &self.wire()[self.start(index)..]
    }
}

/// Reads a query.
///
/// # Errors
/// [`Refusal`] says whether and how to reply: silence for what is no query, NOTIMP for other opcodes, SERVFAIL without a
/// question (as CoreDNS), FORMERR for more than one question (RFC 9619) and for everything malformed.
pub fn parse_query(bytes: &[u8]) -> Result<Query<'_>, Refusal> {
    let mut query = Query::blank();
    query.read(bytes)?;
    Ok(query)
}

impl<'a> Query<'a> {
    /// Room for a query. It has some four hundred bytes: on the hot path it is read in place and never moved.
    pub(crate) fn blank() -> Self {
        Self { bytes: &[], name: QueryName::blank(), qtype: 0, qclass: 0, question_end: 0, edns: None }
    }

    /// As [`parse_query`], in place.
    pub(crate) fn read(&mut self, bytes: &'a [u8]) -> Result<(), Refusal> {
        if bytes.len() < HEADER_BYTES || bytes[2] & 0x80 != 0 {
            return Err(Refusal::Silent);
        }
        self.bytes = bytes;
        let count = |index: usize| read_u16(bytes, 4 + 2 * index).unwrap_or(0);
        let question_end = if count(0) == 1 { self.read_question() } else { None };
        let refuse = |rcode| Refusal::Reply { rcode, question_end };
        if bytes[2] & 0x78 != 0 {
            return Err(refuse(super::rcode::NOTIMP));
        }
        if count(0) == 0 {
            return Err(refuse(super::rcode::SERVFAIL));
        }
        let malformed = refuse(super::rcode::FORMERR);
        self.question_end = question_end.ok_or(malformed)?;
        let others = usize::from(count(1)) + usize::from(count(2));
        self.edns = read_edns(bytes, self.question_end, others, usize::from(count(3))).ok_or(malformed)?;
        Ok(())
    }

    /// Returns where the question ends.
    fn read_question(&mut self) -> Option<usize> {
        self.name.read_at(self.bytes, HEADER_BYTES)?;
        let at = HEADER_BYTES + self.name.wire().len();
        (self.qtype, self.qclass) = (read_u16(self.bytes, at)?, read_u16(self.bytes, at + 2)?);
        Some(at + 4)
    }
}

/// Walks the records behind the question. `None` when a record leaves the packet, when there are two OPT records or
/// one with a name (RFC 6891 §6.1.1).
fn read_edns(bytes: &[u8], mut at: usize, others: usize, additional: usize) -> Option<Option<Edns>> {
    let mut edns = None;
    for index in 0..others + additional {
        let name = at;
        at = skip_name(bytes, at)?;
        if index >= others && read_u16(bytes, at)? == rtype::OPT {
            if edns.is_some() || at != name + 1 {
                return None;
            }
            let udp_size = read_u16(bytes, at + 2)?.max(512);
            let (version, flags) = (*bytes.get(at + 5)?, *bytes.get(at + 6)?);
            edns = Some(Edns { udp_size, version, dnssec_ok: flags & 0x80 != 0 });
        }
        at += 10 + usize::from(read_u16(bytes, at + 8)?);
        if at > bytes.len() {
            return None;
        }
    }
    Some(edns)
}

/// The offset behind the name at `at`. Pointers are not followed: only the end matters.
pub(crate) fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            0xc0.. => return bytes.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
    }
}
