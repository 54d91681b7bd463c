//! The kernel's connection tracking, read and pruned over netlink.
//!
//! Translation is decided by a flow's first packet, so a UDP flow to an endpoint that left would go on for as long as
//! its client sends. [`Sweeper`] cuts such flows, for exactly the addresses and ports that changed, on a thread of its
//! own: a sync never waits for it. Dumps are filtered by the kernel and streamed, so that a large table costs no
//! memory. TCP is left alone: its endpoints end their connections themselves.

mod flow;
mod sweep;

pub use flow::{Filter, Flow, Tuple};
pub use sweep::{Sweep, Sweeper};

use crate::NetlinkError;
use crate::netlink::{DUMP, Header, Socket, Writer, request};
use flow::{AF_INET, DELETE, GET, NEW, SUBSYSTEM};

/// The connection tracking table of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

impl Conntrack {
    /// Opens the table of the calling thread's network namespace.
    ///
    /// # Errors
    /// When no netfilter socket can be had.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { socket: Socket::open()? })
    }

    /// Streams the IPv4 flows that match, in constant memory. Flows that come or go meanwhile may be missed.
    ///
    /// # Errors
    /// When the kernel refuses the dump; `EPERM` without `CAP_NET_ADMIN`.
    pub fn each(&mut self, filter: &Filter, mut each: impl FnMut(Flow)) -> Result<(), NetlinkError> {
        let request = request(header(GET, DUMP), |writer| filter.write(writer));
        // Connection tracking has no generations: its dumps are never marked as interrupted.
        self.socket.dump("a dump of connection tracking", &request, |message| {
            if message.kind == SUBSYSTEM << 8 | NEW
                && let Some(flow) = Flow::parse(&message.attributes())
                && filter.matches(&flow)
            {
                each(flow);
            }
        })?;
        Ok(())
    }

    /// The flows that match, at most `limit` of them.
    ///
    /// # Errors
    /// As [`Conntrack::each`].
    pub fn flows(&mut self, filter: &Filter, limit: usize) -> Result<Vec<Flow>, NetlinkError> {
        let mut flows = Vec::new();
        self.each(filter, |flow| {
            if flows.len() < limit {
                flows.push(flow);
            }
        })?;
        Ok(flows)
    }

    /// Deletes a flow. False when it is gone, or another has its place.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete(&mut self, flow: &Flow) -> Result<bool, NetlinkError> {
        let mut request = request(header(DELETE, 0), |writer: &mut Writer| flow.write_key(writer));
        match self.socket.call("the deletion of a flow", &mut request) {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn header(message: u16, flags: u16) -> Header {
    Header { kind: SUBSYSTEM << 8 | message, flags, family: AF_INET }
}
