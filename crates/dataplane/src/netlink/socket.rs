//! The netlink socket: sends a batch and reads its verdict, asks for dumps and streams them.

use std::io;
use std::time::{Duration, Instant};

use super::batch::{Batch, Messages, Received, messages};
use super::error::{DUMP_ATTEMPTS, Error};
use super::faults::{Call, Faults};
use super::wire::{Kernel, Wire};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The kernel makes dump datagrams of at most 32 KiB.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Part of the send buffer that the kernel keeps for itself.
const SEND_RESERVE: usize = 32;
/// Answers of an earlier request that are thrown away before the next; more than a dump of ten million flows has.
const LEFTOVERS: u32 = 1 << 20;

/// A conversation with netfilter in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    wire: Box<dyn Wire>,
    port: u32,
    sequence: u32,
    committed: u64,
    longest: Duration,
    send_limit: usize,
    buffer: Vec<u8>,
    faults: Option<Box<dyn Faults>>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        Self::of(Kernel::open()?)
    }

    /// The same with a smaller send buffer.
    pub(crate) fn open_small(send_buffer: usize) -> Result<Self, Error> {
        let kernel = Kernel::open()?;
        kernel.shrink_send_buffer(send_buffer)?;
        Self::of(kernel)
    }

    fn of(kernel: Kernel) -> Result<Self, Error> {
        let (port, send_limit) = (kernel.port()?, kernel.send_buffer()?.saturating_sub(SEND_RESERVE));
        Ok(Self { port, send_limit, ..Self::over(Box::new(kernel)) })
    }

    /// A socket over something else than the kernel.
    pub(crate) fn over(wire: Box<dyn Wire>) -> Self {
        let buffer = vec![0; RECEIVE_BUFFER];
        Self {
            wire,
            port: 0,
            sequence: 0,
            committed: 0,
            longest: Duration::ZERO,
            send_limit: RECEIVE_BUFFER,
            buffer,
            faults: None,
        }
    }

    /// From now on these calls fail as well.
    pub(crate) fn set_faults(&mut self, faults: Option<Box<dyn Faults>>) {
        self.faults = faults;
    }

    fn strike(&mut self, call: Call, step: &'static str) -> Result<(), Error> {
        let errno = self.faults.as_mut().and_then(|faults| faults.strike(call));
        errno.map_or(Ok(()), |errno| Err(Error::socket(step, io::Error::from_raw_os_error(errno))))
    }

    /// A message that the faults have the kernel refuse.
    fn refuse(&mut self, batch: &Batch) -> Result<(), Error> {
        let Some(faults) = &mut self.faults else { return Ok(()) };
        for message in batch.messages().filter(|message| batch.is_labelled(message.sequence)) {
            let label = batch.label(message.sequence);
            if let Some(errno) = faults.refuse(label, message.body) {
                return Err(Error::refused(label, errno));
            }
        }
        Ok(())
    }

    /// The number by which the kernel knows the socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// Transactions that were committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed
    }

    /// The longest that the kernel has worked on one transaction since this was asked last. It does so within the send,
    /// and holds its lock for as long.
    pub(crate) fn take_longest(&mut self) -> Duration {
        std::mem::take(&mut self.longest)
    }

    /// The largest batch that one send carries, in bytes.
    pub(crate) fn send_limit(&self) -> usize {
        self.send_limit
    }

    /// Sizes what one send carries, where the system grants it; else it stays as it is.
    pub(crate) fn force_send_limit(&mut self, bytes: usize) {
        if let Some(size) = self.wire.force_send_buffer(bytes.saturating_add(SEND_RESERVE)) {
            self.send_limit = size.saturating_sub(SEND_RESERVE);
        }
    }

    /// Carries out a transaction. When it is refused, nothing of it took effect; after another error that is unknown.
    pub(crate) fn transact(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.drain();
        self.strike(Call::Send, "send")?;
        self.refuse(batch)?;
        let start = Instant::now();
        self.send(batch.finish())?;
        self.longest = self.longest.max(start.elapsed());
        self.strike(Call::Verdict, "read the verdict")?;
        let mut refused = None;
        // The kernel has decided before send returns; when it refused, errors may come without an acknowledgement.
        loop {
            let length = match self.receive(false) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Err(refused.unwrap_or(Error::Silent));
                }
                Err(error) => return Err(refused.unwrap_or(Error::socket("read the verdict", error))),
            };
            let replies = self.datagram(length, "a transaction")?;
            if verdict(replies, batch, &mut refused)? {
                self.committed += 1;
                return Ok(());
            }
        }
    }

    /// Sends requests outside of any batch, in one datagram, and waits for each one's outcome: 0 or an error number.
    /// So many that their answers fit the receive buffer, which some dozens do.
    pub(crate) fn call(&mut self, object: &str, requests: &mut [Vec<u8>]) -> Result<Vec<i32>, Error> {
        let mut datagram = Vec::new();
        let first = self.sequence.wrapping_add(1);
        for request in &mut *requests {
            self.number(request, NLM_F_ACK);
            datagram.extend_from_slice(request);
        }
        let mut outcomes = vec![None; requests.len()];
        let mut open = outcomes.len();
        if open > 0 {
            self.drain();
            self.send(&datagram)?;
        }
        while open > 0 {
            let length = self.receive(true).map_err(|error| Error::socket("read an answer", error))?;
            let mut replies = self.datagram(length, object)?;
            for reply in replies.by_ref().filter(|reply| reply.kind == NLMSG_ERROR) {
                let place = reply.sequence.wrapping_sub(first) as usize;
                if let Some(outcome @ None) = outcomes.get_mut(place) {
                    *outcome = Some(error_code(reply.body).ok_or_else(|| Error::damaged(object))?);
                    open -= 1;
                }
            }
            replies.whole(object)?;
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Asks for some objects, which come one by one before the outcome. They are so few that they fit the receive buffer.
    pub(crate) fn get(
        &mut self,
        object: &str,
        request: &[u8],
        mut each: impl FnMut(&Received<'_>),
    ) -> Result<(), Error> {
        let mut request = request.to_vec();
        let sequence = self.number(&mut request, NLM_F_ACK);
        self.drain();
        self.send(&request)?;
        loop {
            let length = self.receive(true).map_err(|error| Error::socket("read an answer", error))?;
            let mut datagram = self.datagram(length, object)?;
            for message in datagram.by_ref().filter(|message| message.sequence == sequence) {
                if message.kind != NLMSG_ERROR {
                    each(&message);
                    continue;
                }
                return match error_code(message.body) {
                    Some(0) => Ok(()),
                    Some(code) => Err(Error::refused(object, code)),
                    None => Err(Error::damaged(object)),
                };
            }
            datagram.whole(object)?;
        }
    }

    /// Collects a dump, again from the start when a concurrent change interrupted it.
    pub(crate) fn collect<T>(
        &mut self,
        object: &str,
        request: &[u8],
        mut parse: impl FnMut(&Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut found = Vec::new();
            let whole = self.dump(object, request, |message| found.extend(parse(message)))?;
            if whole {
                return Ok(found);
            }
        }
        Err(Error::Interrupted)
    }

    /// Streams a dump, message by message, in constant memory. False when a concurrent change interrupted it, so
    /// that objects may be missing or doubled.
    pub(crate) fn dump(
        &mut self,
        object: &str,
        request: &[u8],
        mut each: impl FnMut(&Received<'_>),
    ) -> Result<bool, Error> {
        let mut request = request.to_vec();
        let sequence = self.number(&mut request, 0);
        self.strike(Call::Dump, "read a dump")?;
        self.drain();
        self.send(&request)?;
        let mut whole = true;
        loop {
            let length = self.receive(true).map_err(|error| Error::socket("read a dump", error))?;
            let mut datagram = self.datagram(length, object)?;
            for message in datagram.by_ref().filter(|message| message.sequence == sequence) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    // A dump that failed on the way says so at its end.
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match error_code(message.body) {
                            Some(0) if message.kind == NLMSG_DONE => Ok(whole),
                            Some(code) => Err(Error::refused(object, code)),
                            None => Err(Error::damaged(object)),
                        };
                    }
                    _ => each(&message),
                }
            }
            datagram.whole(object)?;
        }
    }

    /// Gives a request its sequence number and flags.
    fn number(&mut self, request: &mut [u8], flags: u16) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        request[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let old = u16::from_ne_bytes([request[6], request[7]]);
        request[6..8].copy_from_slice(&(old | flags).to_ne_bytes());
        self.sequence
    }

    /// Throws away answers to earlier requests that were given up. A dump that was must be read to its end: until then
    /// the kernel refuses another. Lost datagrams (`ENOBUFS`) were such answers, too.
    fn drain(&mut self) {
        let lost = |error: io::Error| error.raw_os_error() == Some(libc::ENOBUFS);
        for _ in 0..LEFTOVERS {
            if !self.receive(false).map_or_else(lost, |_| true) {
                return;
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        loop {
            match self.wire.send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map_err(|error| Error::socket("send", error)),
            }
        }
    }

    fn receive(&mut self, wait: bool) -> io::Result<usize> {
        loop {
            match self.wire.receive(&mut self.buffer, wait) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// The messages of a datagram of this length, which must have fitted the buffer.
    fn datagram(&self, length: usize, object: &str) -> Result<Messages<'_>, Error> {
        self.buffer.get(..length).map(messages).ok_or_else(|| Error::damaged(object))
    }
}

/// Reads what a datagram says about a transaction: true when it was committed. The first refusal counts.
fn verdict(mut replies: Messages<'_>, batch: &Batch, refused: &mut Option<Error>) -> Result<bool, Error> {
    for reply in replies.by_ref().filter(|reply| reply.kind == NLMSG_ERROR) {
        match error_code(reply.body).ok_or_else(|| Error::damaged("a transaction"))? {
            0 if reply.sequence == batch.last_sequence() && refused.is_none() => return Ok(true),
            0 => {}
            code => _ = refused.get_or_insert_with(|| Error::refused(batch.label(reply.sequence), code)),
        }
    }
    replies.whole("a transaction").map(|()| false)
}

/// The positive error number at the start of an error or of a dump's end, 0 for none. `None` when there is no room
/// for it or it is none that a system has: what we read is no reply of the kernel then.
fn error_code(body: &[u8]) -> Option<i32> {
    /// `MAX_ERRNO`.
    const HIGHEST: i32 = 4095;
    let code = i32::from_ne_bytes(*body.first_chunk()?);
    (-HIGHEST..=0).contains(&code).then_some(-code)
}

#[cfg(test)]
mod tests;
