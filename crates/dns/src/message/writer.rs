//! Writes one answer into a fixed buffer. A record that does not fit is taken back whole and the answer is marked as
//! cut; what was written before stays valid at every moment.

use super::{CLASS_IN, Edns, HEADER_BYTES, Query, rtype};

/// Bytes of an OPT record without options.
const OPT_BYTES: usize = 11;
/// UDP payload size that we take ourselves, told to clients that speak EDNS (DNS flag day 2020).
const OWN_UDP_BYTES: u16 = 1232;

/// The buffer, or the size that the client takes, is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

/// Sections of a message behind the question, in wire order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// An answer under construction.
pub(crate) struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Bytes that records may fill: the client's size without what the OPT record needs.
    limit: usize,
    counts: [u16; 3],
    cut: bool,
    edns: Option<Edns>,
}

impl<'a> Writer<'a> {
    /// Starts the answer to `query`: header and question. `size` is what the client can take. `None` when not even
    /// that fits.
    pub(crate) fn start(query: &Query<'_>, size: usize, buffer: &'a mut [u8]) -> Option<Self> {
        let reserved = if query.edns.is_some() { OPT_BYTES } else { 0 };
        let limit = size.min(buffer.len()).checked_sub(reserved)?;
        let question = query.bytes.get(..query.question_end)?;
        if question.len() > limit {
            return None;
        }
        buffer[..question.len()].copy_from_slice(question);
        let length = question.len();
        let mut writer = Self { buffer, length, limit, counts: [0; 3], cut: false, edns: query.edns };
        writer.set_flags(query.bytes[2], query.bytes[3]);
        Some(writer)
    }

    /// QR and AA set; opcode, RD and CD as asked; TC, RA, Z, AD and the response code clear.
    fn set_flags(&mut self, first: u8, second: u8) {
        self.buffer[2] = 0x84 | (first & 0x79);
        self.buffer[3] = second & 0x10;
    }

    /// Clears AA: the answer does not come from a zone of ours.
    pub(crate) fn renounce_authority(&mut self) {
        self.buffer[2] &= !0x04;
    }

    /// Where the next byte goes: the offset for a compression pointer.
    pub(crate) fn position(&self) -> usize {
        self.length
    }

    /// What is written so far.
    pub(crate) fn written(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    /// True when a record did not fit.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Number of records in the answer section.
    pub(crate) fn answer_count(&self) -> u16 {
        self.counts[0]
    }

    /// Drops everything behind the question.
    pub(crate) fn clear(&mut self, question_end: usize) {
        (self.length, self.counts, self.cut) = (question_end, [0; 3], false);
    }

    /// Writes one record: `owner` and `data` write their parts. False when it does not fit; the answer is then cut and
    /// takes no further record.
    pub(crate) fn record(
        &mut self,
        section: Section,
        kind: u16,
        ttl: u32,
        owner: impl FnOnce(&mut Self) -> Result<(), Full>,
        data: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> bool {
        if self.cut {
            return false;
        }
        let start = self.length;
        if self.try_record(kind, ttl, owner, data).is_err() {
            self.length = start;
            self.cut = true;
            return false;
        }
        self.counts[section as usize] += 1;
        true
    }

    /// Writes one record that is made already. As [`Writer::record`].
    pub(crate) fn whole_record(&mut self, section: Section, record: &[u8]) {
        self.cut |= self.cut || self.put(record).is_err();
        self.counts[section as usize] += u16::from(!self.cut);
    }

    fn try_record(
        &mut self,
        kind: u16,
        ttl: u32,
        owner: impl FnOnce(&mut Self) -> Result<(), Full>,
        data: impl FnOnce(&mut Self) -> Result<(), Full>,
    ) -> Result<(), Full> {
        owner(self)?;
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&kind.to_be_bytes());
        fixed[2..4].copy_from_slice(&CLASS_IN.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        self.put(&fixed)?;
        let start = self.length;
        data(self)?;
        let length = u16::try_from(self.length - start).map_err(|_| Full)?;
        self.buffer[start - 2..start].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Appends bytes.
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.length + bytes.len();
        if end > self.limit {
            return Err(Full);
        }
        self.buffer[self.length..end].copy_from_slice(bytes);
        self.length = end;
        Ok(())
    }

    /// Appends one label with its length.
    pub(crate) fn label(&mut self, label: &[u8]) -> Result<(), Full> {
        let length = u8::try_from(label.len()).map_err(|_| Full)?;
        self.put(&[length])?;
        self.put(label)
    }

    /// Appends a compression pointer.
    pub(crate) fn pointer(&mut self, target: usize) -> Result<(), Full> {
        self.put(&pointer(target)?)
    }

    /// Completes the message with its code, counts, TC and OPT. Returns its length.
    pub(crate) fn finish(mut self, rcode: u16) -> usize {
        self.limit = self.buffer.len();
        if let Some(edns) = self.edns {
            let flags = if edns.dnssec_ok { 0x80 } else { 0 };
            let [kind, size] = [rtype::OPT.to_be_bytes(), OWN_UDP_BYTES.to_be_bytes()];
            let [extended, _] = (rcode << 4).to_be_bytes();
            let opt = [0, kind[0], kind[1], size[0], size[1], extended, 0, flags, 0, 0, 0];
            if self.put(&opt).is_ok() {
                self.counts[2] += 1;
            }
        }
        self.buffer[2] |= if self.cut { 0x02 } else { 0 };
        self.buffer[3] |= (rcode & 0x0f) as u8;
        self.buffer[4..6].copy_from_slice(&1_u16.to_be_bytes());
        for (index, count) in self.counts.iter().enumerate() {
            let at = 6 + 2 * index;
            self.buffer[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        self.length
    }
}

/// A compression pointer to this offset, if one reaches it.
pub(crate) fn pointer(target: usize) -> Result<[u8; 2], Full> {
    let target = u16::try_from(target).ok().filter(|target| *target < 0x4000).ok_or(Full)?;
    Ok((0xc000 | target).to_be_bytes())
}

/// Writes the reply to a packet that could not be read as a query: its header, and its question when that could be
/// read. Returns its length, `None` when the buffer is too small.
pub(crate) fn refuse(
    bytes: &[u8],
    rcode: u16,
    question_end: Option<usize>,
    buffer: &mut [u8],
) -> Option<usize> {
    let end = question_end.unwrap_or(HEADER_BYTES);
    let reply = buffer.get_mut(..end)?;
    reply.copy_from_slice(bytes.get(..end)?);
    reply[2] = 0x80 | (reply[2] & 0x79);
    reply[3] = (reply[3] & 0x10) | (rcode & 0x0f) as u8;
    reply[4..HEADER_BYTES].fill(0);
    reply[5] = u8::from(question_end.is_some());
    Some(end)
}
