//! Follows one real packet through the kernel's chains (nftrace), for `sluice trace --live`.
//!
//! The kernel tells the way of packets that carry a mark, and only a rule can give it. [`PacketTrace::start`] makes a table
//! of its own, `sluice-trace`, with one rule for exactly one flow; it belongs to our socket and goes with it, so that
//! nothing stays whatever happens to the program. Only what the kernel says is told; no other table is touched.

mod event;
mod mark;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, setsockopt,
};
use nix::sys::time::TimeVal;
use services::Protocol;

use crate::NetlinkError;
use crate::netlink::{DUMP, Header, Socket, Writer, messages, request};
use event::{Event, SUBSYSTEM};
pub use event::{Headers, Step, Verdict};

/// `NFNLGRP_NFTRACE`, as a bit of the address that a socket is bound to.
const GROUP: u32 = 1 << (9 - 1);
const GETRULE: u16 = 7;
const NEWRULE: u16 = 6;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_HANDLE: u16 = 3;
const NFTA_RULE_USERDATA: u16 = 7;
/// The kernel sends one message for each step of a packet.
const BUFFER: usize = 16 * 1024;
/// More steps than any packet takes.
const EVENTS_MAX: usize = 1024;

/// One flow's packets in the direction in which it was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its sender.
    pub source: SocketAddr,
    /// Where it is sent, before any translation.
    pub destination: SocketAddr,
}

/// Why a packet cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rule that marks the packet.
    #[error("cannot make the table sluice-trace; needs root, and no other trace at the same time")]
    Mark(#[source] NetlinkError),
    /// The kernel's messages.
    #[error("cannot listen to the kernel's trace messages")]
    Listen(#[source] std::io::Error),
    /// What the rules are called.
    #[error("cannot read the rules that the packet met")]
    Rules(#[source] NetlinkError),
}

/// A trace that runs. Dropping it removes the table.
#[derive(Debug)]
pub struct PacketTrace {
    mark: mark::Mark,
    listener: OwnedFd,
}

impl PacketTrace {
    /// Marks the flow's packets from now on, in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`Error`]; nothing is left behind.
    pub fn start(flow: Flow) -> Result<Self, Error> {
        let listener = listen().map_err(|errno| Error::Listen(errno.into()))?;
        let mark = mark::Mark::place(flow).map_err(Error::Mark)?;
        Ok(Self { mark, listener })
    }

    /// The way of the flow's first packet, once the kernel has been silent for `silence`. Empty when no packet of the
    /// flow came by.
    ///
    /// # Errors
    /// [`Error`].
    pub fn finish(self, silence: Duration) -> Result<Vec<Step>, Error> {
        let events = self.events(silence).map_err(|errno| Error::Listen(errno.into()))?;
        drop(self.mark);
        let Some(first) = events.first().map(|event| event.packet) else { return Ok(Vec::new()) };
        let comments = comments().map_err(Error::Rules)?;
        // The kernel tells the end of a base chain twice; the first time it says nothing.
        let ours = events
            .into_iter()
            .filter(|event| event.packet == first && event.table != mark::TABLE && !event.is_empty());
        Ok(ours.map(|event| event.step(&comments)).collect())
    }

    fn events(&self, silence: Duration) -> Result<Vec<Event>, Errno> {
        let mut events = Vec::new();
        let mut buffer = vec![0; BUFFER];
        let mut quiet_since = Instant::now();
        while events.len() < EVENTS_MAX && quiet_since.elapsed() < silence {
            let length = match socket::recv(self.listener.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EAGAIN | Errno::EINTR) => continue,
                // Messages were lost: what came is still true.
                Err(Errno::ENOBUFS) => break,
                Err(errno) => return Err(errno),
            };
            events.extend(messages(&buffer[..length]).filter_map(|message| Event::parse(&message)));
            quiet_since = Instant::now();
        }
        Ok(events)
    }
}

fn listen() -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkNetFilter;
    let listener = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    socket::bind(listener.as_raw_fd(), &NetlinkAddr::new(0, GROUP))?;
    setsockopt(&listener, ReceiveTimeout, &TimeVal::new(0, 20_000))?;
    Ok(listener)
}

/// The comments of all rules, by table, chain and handle.
type Comments = HashMap<(u8, String, u64), String>;

fn comments() -> Result<Comments, NetlinkError> {
    let mut socket = Socket::open()?;
    let header = Header { kind: SUBSYSTEM << 8 | GETRULE, flags: DUMP, family: 0 };
    let found = socket.collect("the list of rules", &request(header, |_: &mut Writer| ()), |message| {
        if message.kind != SUBSYSTEM << 8 | NEWRULE {
            return None;
        }
        let family = *message.body.first()?;
        let rule = message.attributes();
        let chain = format!("{}/{}", rule.text(NFTA_RULE_TABLE)?, rule.text(NFTA_RULE_CHAIN)?);
        let handle = u64::from_be_bytes(rule.get(NFTA_RULE_HANDLE)?.try_into().ok()?);
        Some(((family, chain, handle), comment(rule.get(NFTA_RULE_USERDATA)?)?))
    })?;
    Ok(found.into_iter().collect())
}

/// libnftnl's user data: type 0, length with NUL, the comment.
fn comment(data: &[u8]) -> Option<String> {
    let [0, length, rest @ ..] = data else { return None };
    let text = rest.get(..usize::from(*length).checked_sub(1)?)?;
    String::from_utf8(text.to_vec()).ok()
}
