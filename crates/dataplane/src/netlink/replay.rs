//! Bytes in the kernel's place: every reader of replies, fed with what a fuzzer makes. Nothing in the product uses it.

use std::io;

use super::batch::{Batch, DUMP, Header, messages, request};
use super::socket::Socket;
use super::wire::Wire;
use crate::nftables::SUBSYSTEM;

/// Answers every request with the same datagrams: each of them two bytes of length and so many of content. Messages are
/// answers to what was asked last, unless the highest bit of their sequence number is set.
#[derive(Debug)]
struct Replay {
    bytes: Vec<u8>,
    /// Sequence number of the request and where its answers are read; `None` before the first.
    asked: Option<(u32, usize)>,
}

impl Wire for Replay {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let first = messages(datagram).next();
        self.asked = first.map(|message| (message.sequence, 0));
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _wait: bool) -> io::Result<usize> {
        let (sequence, position) = self.asked.ok_or(io::ErrorKind::WouldBlock)?;
        let rest = self.bytes.get(position..).unwrap_or_default();
        let (length, rest) = rest.split_first_chunk::<2>().ok_or(io::ErrorKind::WouldBlock)?;
        let datagram = &rest[..rest.len().min(usize::from(u16::from_le_bytes(*length)))];
        self.asked = Some((sequence, position + 2 + datagram.len()));
        let fits = datagram.len().min(buffer.len());
        buffer[..fits].copy_from_slice(&datagram[..fits]);
        // Those of a batch count from 1, after the message that begins it.
        if sequence != 0 {
            answer(&mut buffer[..fits], sequence);
        }
        Ok(datagram.len())
    }
}

/// Gives the messages of a datagram the sequence number of a request.
fn answer(mut datagram: &mut [u8], sequence: u32) {
    while let Some(number) = datagram.get_mut(8..12) {
        if number[3] < 0x80 {
            number.copy_from_slice(&sequence.to_ne_bytes());
        }
        let length = u32::from_ne_bytes([datagram[0], datagram[1], datagram[2], datagram[3]]) as usize;
        let next = length.max(16).checked_next_multiple_of(4).unwrap_or(usize::MAX);
        datagram = datagram.get_mut(next..).unwrap_or_default();
    }
}

/// What a dump, a call and a transaction make of replies.
pub(crate) fn replies(bytes: &[u8]) {
    let mut socket = over(bytes);
    let header = Header { kind: SUBSYSTEM << 8, flags: DUMP, family: 2 };
    let _ = socket.collect("a dump", &request(header, |_| ()), |message| Some(message.attributes().count()));
    let mut socket = over(bytes);
    let _ = socket.call("a call", &mut vec![request(header, |_| ()); 3]);
    let mut socket = over(bytes);
    let mut batch = Batch::new(SUBSYSTEM);
    batch.push(header, "first", |_| ());
    batch.push(header, "second", |_| ());
    let _ = socket.transact(&mut batch);
}

/// A socket that these bytes answer.
pub(crate) fn over(bytes: &[u8]) -> Socket {
    Socket::over(wire(bytes))
}

/// The same without the socket.
pub(crate) fn wire(bytes: &[u8]) -> Box<dyn Wire> {
    Box::new(Replay { bytes: bytes.to_vec(), asked: None })
}
