//! The netlink socket: sends a batch and reads its verdict, asks for dumps and streams them.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SndBuf, SndBufForce};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockopt, setsockopt,
};
use nix::sys::time::TimeVal;

use super::batch::{Batch, Received, messages};
use super::faults::{Call, Faults};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The kernel makes dump datagrams of at most 32 KiB.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// The kernel answers within the call; a longer silence is a fault.
const PATIENCE_SECONDS: i64 = 10;
/// What we ask for. A transaction holds up all others on the machine while the kernel works on it; this much is some
/// 15,000 elements and a few tens of milliseconds.
const SEND_BUFFER: usize = 1 << 20;
/// Part of the send buffer that the kernel keeps for itself.
const SEND_RESERVE: usize = 32;
/// A dump that a concurrent change interrupted is repeated this often.
const DUMP_ATTEMPTS: u32 = 8;

/// Why the kernel could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error("netlink: cannot {step}")]
    Socket {
        /// What was tried.
        step: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The kernel refused a message, and with it the whole transaction.
    #[error("netlink: the kernel refused {object}")]
    Refused {
        /// What the message was about.
        object: String,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// A dump was interrupted by concurrent changes each time.
    #[error("netlink: the state changed under each of {DUMP_ATTEMPTS} attempts to read it")]
    Interrupted,
    /// The kernel did not say how a transaction ended.
    #[error("netlink: no acknowledgement within {PATIENCE_SECONDS} s")]
    Silent,
}

impl Error {
    fn socket(step: &'static str, errno: Errno) -> Self {
        Self::Socket { step, cause: errno.into() }
    }

    /// The kernel's error number, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket { cause, .. } | Self::Refused { cause, .. } => cause.raw_os_error(),
            Self::Interrupted | Self::Silent => None,
        }
    }
}

/// A `NETLINK_NETFILTER` socket of the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    send_limit: usize,
    buffer: Vec<u8>,
    faults: Option<Box<dyn Faults>>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> Result<Self, Error> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(|errno| Error::socket("open a netfilter socket", errno))?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))
            .map_err(|errno| Error::socket("bind the socket", errno))?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))
            .map_err(|errno| Error::socket("set a receive timeout", errno))?;
        // Beyond net.core.wmem_max only with CAP_NET_ADMIN in the initial user namespace; else what there is.
        if setsockopt(&fd, SndBufForce, &(SEND_BUFFER / 2)).is_err() {
            setsockopt(&fd, SndBuf, &(SEND_BUFFER / 2))
                .map_err(|errno| Error::socket("size the send buffer", errno))?;
        }
        let mut socket =
            Self { fd, sequence: 0, send_limit: 0, buffer: vec![0; RECEIVE_BUFFER], faults: None };
        socket.measure()?;
        Ok(socket)
    }

    /// From now on these calls fail as well.
    pub(crate) fn set_faults(&mut self, faults: Option<Box<dyn Faults>>) {
        self.faults = faults;
    }

    fn strike(&mut self, call: Call, step: &'static str) -> Result<(), Error> {
        let errno = self.faults.as_mut().and_then(|faults| faults.strike(call));
        errno.map_or(Ok(()), |errno| Err(Error::Socket { step, cause: os_error(errno) }))
    }

    /// Makes the send buffer as small as asked.
    pub(crate) fn shrink_send_buffer(&mut self, bytes: usize) -> Result<(), Error> {
        setsockopt(&self.fd, SndBuf, &bytes).map_err(|errno| Error::socket("size the send buffer", errno))?;
        self.measure()
    }

    fn measure(&mut self) -> Result<(), Error> {
        // The kernel doubles what was asked and reports the double, which is what it compares with.
        let size =
            getsockopt(&self.fd, SndBuf).map_err(|errno| Error::socket("read its send buffer", errno))?;
        self.send_limit = size.saturating_sub(SEND_RESERVE);
        Ok(())
    }

    /// The largest batch that one send carries, in bytes.
    pub(crate) fn send_limit(&self) -> usize {
        self.send_limit
    }

    /// Carries out a transaction. On an error nothing of it took effect.
    pub(crate) fn transact(&mut self, batch: &mut Batch) -> Result<(), Error> {
        if batch.is_empty() {
            return Ok(());
        }
        self.drain();
        let last = batch.last_sequence();
        self.strike(Call::Send, "send")?;
        self.send(batch.finish())?;
        self.strike(Call::Verdict, "read the verdict")?;
        let mut refused = None;
        // The kernel has decided before send returns; when it refused, errors may come without an acknowledgement.
        loop {
            let length = match self.receive(MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return Err(refused.unwrap_or(Error::Silent)),
                Err(errno) => return Err(refused.unwrap_or(Error::socket("read the verdict", errno))),
            };
            for message in messages(&self.buffer[..length]).filter(|message| message.kind == NLMSG_ERROR) {
                match error_code(message.body) {
                    0 if message.sequence == last && refused.is_none() => return Ok(()),
                    0 => {}
                    code => {
                        let object = batch.label(message.sequence).to_owned();
                        refused.get_or_insert(Error::Refused { object, cause: os_error(code) });
                    }
                }
            }
        }
    }

    /// Sends a request outside of any batch and waits for its acknowledgement.
    pub(crate) fn call(&mut self, object: &str, request: &mut [u8]) -> Result<(), Error> {
        const NLM_F_ACK: u16 = 0x4;
        let sequence = self.number(request, NLM_F_ACK);
        self.send(request)?;
        loop {
            let length =
                self.receive(MsgFlags::empty()).map_err(|errno| Error::socket("read an answer", errno))?;
            let answer = messages(&self.buffer[..length])
                .find(|message| message.sequence == sequence && message.kind == NLMSG_ERROR);
            match answer.map(|message| error_code(message.body)) {
                Some(0) => return Ok(()),
                Some(code) => {
                    return Err(Error::Refused { object: object.to_owned(), cause: os_error(code) });
                }
                None => {}
            }
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
            let length =
                self.receive(MsgFlags::empty()).map_err(|errno| Error::socket("read a dump", errno))?;
            for message in messages(&self.buffer[..length]).filter(|message| message.sequence == sequence) {
                whole &= message.flags & NLM_F_DUMP_INTR == 0;
                match message.kind {
                    NLMSG_DONE => return Ok(whole),
                    NLMSG_ERROR => {
                        let cause = os_error(error_code(message.body));
                        return Err(Error::Refused { object: object.to_owned(), cause });
                    }
                    _ => each(&message),
                }
            }
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

    /// Throws away answers to earlier requests that were given up.
    fn drain(&mut self) {
        while self.receive(MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Error> {
        let sent = socket::send(self.fd.as_raw_fd(), bytes, MsgFlags::empty())
            .map_err(|errno| Error::socket("send", errno))?;
        debug_assert_eq!(sent, bytes.len(), "netlink sends whole datagrams");
        Ok(())
    }

    fn receive(&mut self, flags: MsgFlags) -> Result<usize, Errno> {
        loop {
            match socket::recv(self.fd.as_raw_fd(), &mut self.buffer, flags) {
                Err(Errno::EINTR) => {}
                result => return result,
            }
        }
    }
}

/// The positive error number of an `NLMSG_ERROR`, 0 for an acknowledgement.
fn error_code(body: &[u8]) -> i32 {
    body.first_chunk().map_or(libc::EBADMSG, |bytes| -i32::from_ne_bytes(*bytes))
}

fn os_error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}
