//! Messages, and batches of them.

use super::attribute::{Attributes, Writer};
use super::error::Error;

const NLMSG_HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, resource.
const GENERIC_HEADER: usize = 4;

const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
/// Create what does not exist.
pub(crate) const CREATE: u16 = 0x400;
/// Add at the end.
pub(crate) const APPEND: u16 = 0x800;
/// All objects of the kind.
pub(crate) const DUMP: u16 = 0x300;

const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const AF_UNSPEC: u8 = 0;

/// Type, flags and family of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Subsystem and message.
    pub(crate) kind: u16,
    /// [`CREATE`] and the like.
    pub(crate) flags: u16,
    /// Address family, `NFPROTO_IPV4` and the like.
    pub(crate) family: u8,
}

/// One message outside of any batch, with a header for the socket to number.
pub(crate) fn request(header: Header, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::new();
    message(&mut writer, header, 0, 0, write);
    let mut bytes = writer.into_bytes();
    set_length(&mut bytes, 0);
    bytes
}

fn message(
    writer: &mut Writer,
    header: Header,
    sequence: u32,
    resource: u16,
    write: impl FnOnce(&mut Writer),
) {
    writer.raw(&[0; 4]);
    writer.raw(&header.kind.to_ne_bytes());
    writer.raw(&(header.flags | NLM_F_REQUEST).to_ne_bytes());
    writer.raw(&sequence.to_ne_bytes());
    writer.raw(&[0; 4]);
    writer.raw(&[header.family, 0]);
    writer.raw(&resource.to_be_bytes());
    write(writer);
}

fn set_length(bytes: &mut [u8], start: usize) {
    let length = u32::try_from(bytes.len() - start).expect("a message fits a send buffer");
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

/// Messages of one transaction. Sequence numbers count from 1 within the batch, so an error names its message.
#[derive(Debug)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    subsystem: u16,
    /// What each message is about, for errors.
    labels: Vec<String>,
    last: usize,
}

impl Batch {
    /// Bytes of the messages that begin and end a batch.
    pub(crate) const OVERHEAD: usize = 2 * (NLMSG_HEADER + GENERIC_HEADER);

    /// An empty transaction of a subsystem (`NFNL_SUBSYS_*`).
    pub(crate) fn new(subsystem: u16) -> Self {
        let mut batch = Self { bytes: Vec::new(), subsystem, labels: Vec::new(), last: 0 };
        batch.delimiter(NFNL_MSG_BATCH_BEGIN, 0);
        batch
    }

    /// Adds a message about `label`.
    pub(crate) fn push(&mut self, header: Header, label: impl Into<String>, write: impl FnOnce(&mut Writer)) {
        self.labels.push(label.into());
        self.last = self.bytes.len();
        let sequence = u32::try_from(self.labels.len()).expect("a batch has few messages");
        self.append(header, sequence, 0, write);
    }

    /// Adds the messages of another batch of the same subsystem.
    pub(crate) fn extend(&mut self, other: Batch) {
        let mut position = Self::OVERHEAD / 2;
        for label in other.labels {
            let start = self.bytes.len();
            let rest = &other.bytes[position..];
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            self.bytes.extend_from_slice(&rest[..length]);
            position += length;
            self.labels.push(label);
            self.last = start;
            let sequence = u32::try_from(self.labels.len()).expect("a batch has few messages");
            self.bytes[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes on the wire, delimiters included.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() + Self::OVERHEAD / 2
    }

    /// What the message with this sequence number is about.
    pub(crate) fn label(&self, sequence: u32) -> &str {
        let index = (sequence as usize).wrapping_sub(1);
        self.labels.get(index).map_or("the transaction as a whole", String::as_str)
    }

    /// True for the sequence number of a message that is not the batch's beginning or end.
    pub(crate) fn is_labelled(&self, sequence: u32) -> bool {
        (1..=self.last_sequence()).contains(&sequence)
    }

    /// Sequence number of the last message, the one that asks for an acknowledgement.
    pub(crate) fn last_sequence(&self) -> u32 {
        u32::try_from(self.labels.len()).expect("a batch has few messages")
    }

    /// The finished batch; its last message asks for an acknowledgement.
    pub(crate) fn finish(&mut self) -> &[u8] {
        if !self.is_empty() {
            let flags = self.last + 6;
            let old = u16::from_ne_bytes([self.bytes[flags], self.bytes[flags + 1]]);
            self.bytes[flags..flags + 2].copy_from_slice(&(old | NLM_F_ACK).to_ne_bytes());
        }
        self.delimiter(NFNL_MSG_BATCH_END, self.last_sequence() + 1);
        &self.bytes
    }

    /// The messages so far.
    pub(crate) fn messages(&self) -> Messages<'_> {
        messages(&self.bytes)
    }

    fn delimiter(&mut self, kind: u16, sequence: u32) {
        let header = Header { kind, flags: 0, family: AF_UNSPEC };
        self.append(header, sequence, self.subsystem, |_| ());
    }

    fn append(&mut self, header: Header, sequence: u32, resource: u16, write: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        let mut writer = Writer::new();
        message(&mut writer, header, sequence, resource, write);
        self.bytes.extend_from_slice(&writer.into_bytes());
        set_length(&mut self.bytes, start);
    }
}

/// One received message: its type, and its attributes behind the generic header.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

impl<'a> Received<'a> {
    /// Attributes behind `struct nfgenmsg`.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.body.get(GENERIC_HEADER..).unwrap_or_default())
    }
}

/// Cuts a datagram into messages; stops at the first that does not fit.
pub(crate) fn messages(datagram: &[u8]) -> Messages<'_> {
    Messages { rest: datagram }
}

/// The messages of a datagram.
#[derive(Clone, Debug)]
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl Messages<'_> {
    /// Whether all of the datagram was messages, once they were read.
    pub(crate) fn whole(&self, object: &str) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(Error::damaged(object)) }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Received<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.rest.get(..NLMSG_HEADER)?;
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let (length, sequence) = (word(0) as usize, word(8));
        let body = self.rest.get(NLMSG_HEADER..length)?;
        let received = Received { kind: half(4), flags: half(6), sequence, body };
        self.rest = self.rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { kind: 0x0a00, flags: CREATE, family: 2 };

    #[test]
    fn a_batch_is_numbered_and_acknowledged_at_its_end() {
        let mut first = Batch::new(10);
        first.push(HEADER, "table a", |writer| writer.u32(1, 1));
        let mut second = Batch::new(10);
        second.push(HEADER, "table b", |writer| writer.u32(1, 2));
        first.extend(second);
        assert_eq!(first.label(2), "table b");
        assert_eq!(first.label(9), "the transaction as a whole");
        let length = first.len();
        let bytes = first.finish().to_vec();
        assert_eq!(bytes.len(), length);
        let seen: Vec<_> = messages(&bytes).map(|found| (found.kind, found.flags, found.sequence)).collect();
        let begin = (NFNL_MSG_BATCH_BEGIN, 1, 0);
        assert_eq!(seen, [begin, (0x0a00, 0x401, 1), (0x0a00, 0x405, 2), (NFNL_MSG_BATCH_END, 1, 3)]);
    }

    #[test]
    fn damaged_datagrams_end_the_reading() {
        for bytes in [&[][..], &[1; 15], &[0; 16], &[255; 40]] {
            assert_eq!(messages(bytes).count(), 0);
        }
    }
}
