//! Notices that somebody else changed our tables, where they cannot be owned (kernels before 6.9).
//!
//! nf_tables tells subscribers of every committed transaction, and who made it. What our own sockets do never gets
//! here. When notifications were lost nobody knows what they said, so that counts as an edit. What to do about one is
//! the caller's: [`super::Reconciler::repair`], on the thread that syncs.

use std::collections::VecDeque;
use std::fmt;
use std::fs;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::Error;
use crate::netlink::{self, Listener, Received};
use crate::nftables::{NEWGEN, SUBSYSTEM, TABLE};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// `NFTA_GEN_PROC_*`: who made the transaction that the message ends.
const PROCESS_ID: u16 = 2;
const PROCESS_NAME: u16 = 3;
/// First attribute of every other message: the table's name.
const TABLE_NAME: u16 = 1;
/// A transaction's notifications come one right after the other; its last says who made it.
const ENDING: Duration = Duration::from_millis(50);
/// So many edits within [`RIVALRY`] are no accident: another program writes what we take back. From then on its edits
/// are answered twice a second, not each at once.
const PATIENCE: usize = 5;
const RIVALRY: Duration = Duration::from_secs(10);
const DAMPING: Duration = Duration::from_millis(500);

/// Somebody else changed one of our tables, or may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Who, as far as the kernel says: the thread's name and number.
    pub process: Option<(String, u32)>,
    /// It goes on and on: another program takes the table for its own.
    pub repeated: bool,
    /// The thread has the name of the one that opened the monitor: it is most likely another of us.
    pub alike: bool,
}

impl fmt::Display for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((name, id)) => write!(f, "table {TABLE} was changed by {name} (process {id})")?,
            None => write!(f, "table {TABLE} may have been changed by another program")?,
        }
        match (self.repeated, self.alike) {
            (true, _) => {
                write!(f, ", and not for the first time: is another sluice agent running on this node?")
            }
            (false, true) => write!(f, ": is another sluice agent running on this node?"),
            (false, false) => Ok(()),
        }
    }
}

/// Waits for edits, on a thread of its own.
#[derive(Debug)]
pub struct Monitor {
    listener: Listener,
    closed: PipeReader,
    edits: VecDeque<Instant>,
    /// The name of the thread that opened it.
    name: Option<String>,
}

/// Ends [`Monitor::wait`] when it is dropped.
#[derive(Debug)]
pub struct Closer {
    _pipe: PipeWriter,
}

impl Monitor {
    /// Hears, in the calling thread's network namespace, of all that others than the sockets with these ports do.
    pub(super) fn open(ours: &[u32]) -> Result<(Self, Closer), Error> {
        let listener = Listener::open(GROUP, ours).map_err(Error::Monitor)?;
        let (closed, pipe) = io::pipe().map_err(|cause| Error::Monitor(netlink::Error::pipe(cause)))?;
        let name = fs::read_to_string("/proc/thread-self/comm").ok().map(|name| name.trim_end().to_owned());
        Ok((Self { listener, closed, edits: VecDeque::new(), name }, Closer { _pipe: pipe }))
    }

    /// Waits for the next edit; several that come together are one. `None` when closed.
    ///
    /// # Errors
    /// When the socket cannot be read.
    pub fn wait(&mut self) -> Result<Option<Edit>, Error> {
        loop {
            if !self.ready(None)? {
                return Ok(None);
            }
            let mut heard = Heard::default();
            self.listen(&mut heard)?;
            if heard.ours {
                return self.edit(heard).map(Some);
            }
        }
    }

    /// Tells of an edit, after a while when there have been many.
    fn edit(&mut self, mut heard: Heard) -> Result<Edit, Error> {
        let now = Instant::now();
        self.edits.retain(|edit| now.duration_since(*edit) < RIVALRY);
        self.edits.push_back(now);
        let repeated = self.edits.len() > PATIENCE;
        if repeated {
            std::thread::sleep(DAMPING);
            self.listen(&mut heard)?;
            self.edits.truncate(PATIENCE);
        }
        let alike = heard.process.as_ref().is_some_and(|(name, _)| self.name.as_ref() == Some(name));
        Ok(Edit { process: heard.process, repeated, alike })
    }

    /// Takes what is there, and the rest of a transaction of which only the beginning is.
    fn listen(&mut self, heard: &mut Heard) -> Result<(), Error> {
        loop {
            match self.listener.receive() {
                Ok(messages) => messages.for_each(|message| heard.message(&message)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !heard.unfinished || !self.ready(Some(ENDING))? {
                        return Ok(());
                    }
                }
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => heard.lost(),
                Err(error) => return Err(Error::Monitor(netlink::Error::receiving(error))),
            }
        }
    }

    /// True when there is something to read; false when closed, or when the time has passed.
    fn ready(&self, patience: Option<Duration>) -> Result<bool, Error> {
        let timeout = patience.map_or(PollTimeout::NONE, |time| time.try_into().unwrap_or(PollTimeout::MAX));
        let mut polled = [
            PollFd::new(self.listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.closed.as_fd(), PollFlags::POLLIN),
        ];
        loop {
            match poll(&mut polled, timeout) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::Monitor(netlink::Error::receiving(errno.into()))),
                Ok(_) => break,
            }
        }
        let [listener, closed] = polled.map(|polled| polled.any().unwrap_or(false));
        Ok(listener && !closed)
    }
}

/// What notifications said.
#[derive(Debug, Default)]
struct Heard {
    /// One was about our tables, or was lost.
    ours: bool,
    /// A transaction's beginning was heard, but not its end.
    unfinished: bool,
    process: Option<(String, u32)>,
}

impl Heard {
    fn message(&mut self, message: &Received<'_>) {
        let attributes = message.attributes();
        if message.kind != SUBSYSTEM << 8 | NEWGEN {
            if attributes.text(TABLE_NAME) == Some(TABLE) {
                self.ours = true;
                self.unfinished = true;
            }
            return;
        }
        if std::mem::take(&mut self.unfinished) {
            let name = attributes.text(PROCESS_NAME).map(str::to_owned);
            self.process = name.zip(attributes.u32(PROCESS_ID));
        }
    }

    fn lost(&mut self) {
        self.ours = true;
        self.unfinished = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Header, Writer, messages, request};

    fn heard(parts: &[Vec<u8>]) -> Heard {
        let mut heard = Heard::default();
        messages(&parts.concat()).for_each(|message| heard.message(&message));
        heard
    }

    fn message(kind: u16, write: impl FnOnce(&mut Writer)) -> Vec<u8> {
        request(Header { kind: SUBSYSTEM << 8 | kind, flags: 0, family: 2 }, write)
    }

    fn end(name: &str, id: u32) -> Vec<u8> {
        message(NEWGEN, |writer| {
            writer.u32(1, 7);
            writer.u32(PROCESS_ID, id);
            writer.text(PROCESS_NAME, name);
        })
    }

    #[test]
    fn only_our_tables_count() {
        let about = |table: &'static str| message(12, |writer| writer.text(TABLE_NAME, table));
        let other = heard(&[about("filter"), about("sluice-like"), end("nft", 5)]);
        assert!(!other.ours && other.process.is_none());
        let ours = heard(&[about("filter"), about("sluice"), end("nft", 6), about("filter"), end("ufw", 7)]);
        assert!(ours.ours && !ours.unfinished);
        let edit = Edit { process: ours.process, repeated: false, alike: false };
        assert_eq!(edit.to_string(), "table sluice was changed by nft (process 6)");
        assert!(heard(&[about("sluice")]).unfinished);
        assert!(!heard(&[message(NEWGEN, |_| ()), vec![9; 30]]).ours);
    }
}
