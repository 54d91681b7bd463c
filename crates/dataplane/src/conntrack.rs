//! The kernel's connection tracking, read and pruned over netlink, for both IP families.
//!
//! Translation is decided by a flow's first packet, so a UDP flow to an endpoint that left would go on for as long as
//! its client sends. [`Sweeper`] cuts such flows, for exactly the addresses and ports that changed, on a thread of its
//! own: a sync never waits for it. Dumps are filtered by the kernel and streamed, and what is found is deleted while
//! the dump goes on, so that a table of any size costs no memory. TCP is left alone: its endpoints end their
//! connections themselves. SCTP is left alone, too.

mod filter;
mod flow;
pub mod generated;
mod sweep;
mod sweeper;
mod tuple;

#[cfg(test)]
mod tests;

pub use filter::Filter;
pub use flow::Flow;
pub use sweep::{Sweep, Swept};
pub use sweeper::Sweeper;
pub use tuple::Tuple;

use crate::NetlinkError;
use crate::netlink::{DUMP, Header, Socket, Wire, Writer, request};
use filter::Scope;

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1;
/// `IPCTNL_MSG_CT_*`.
const NEW: u16 = 0;
const GET: u16 = 1;
const DELETE: u16 = 2;
/// What a dump is called in errors.
const DUMP_OBJECT: &str = "a dump of connection tracking";

/// The connection tracking table of one network namespace.
#[derive(Debug)]
pub struct Conntrack {
    dumps: Socket,
    /// A socket that dumps can be asked nothing else meanwhile.
    calls: Socket,
}

impl Conntrack {
    /// Opens the table of the calling thread's network namespace.
    ///
    /// # Errors
    /// When no netfilter socket can be had.
    pub fn open() -> Result<Self, NetlinkError> {
        Ok(Self { dumps: Socket::open()?, calls: Socket::open()? })
    }

    /// A table that is not the kernel's: `dumps` answers requests for dumps, `calls` deletions. For tests.
    #[must_use]
    pub fn over(dumps: Box<dyn Wire>, calls: Box<dyn Wire>) -> Self {
        Self { dumps: Socket::over(dumps), calls: Socket::over(calls) }
    }

    /// Streams the flows that match, in constant memory. Flows that come or go meanwhile may be missed.
    ///
    /// # Errors
    /// When the kernel refuses the dump; `EPERM` without `CAP_NET_ADMIN`.
    pub fn each(&mut self, filter: &Filter, mut each: impl FnMut(Flow)) -> Result<(), NetlinkError> {
        filter.scopes().iter().try_for_each(|scope| {
            let take = |flow| {
                each(flow);
                Ok(())
            };
            dump(&mut self.dumps, scope, take).map(|_| ())
        })
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
        delete(&mut self.calls, &[*flow]).map(|deleted| deleted == 1)
    }
}

/// What a dump brought.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Flows that the kernel sent.
    sent: u64,
    /// Those among them that it should not have sent: it knows no filters.
    unasked: u64,
}

/// Streams the flows of a scope. After `each` has failed nothing more is given to it.
fn dump(
    socket: &mut Socket,
    scope: &Scope,
    mut each: impl FnMut(Flow) -> Result<(), NetlinkError>,
) -> Result<Seen, NetlinkError> {
    let (mut seen, mut result) = (Seen::default(), Ok(()));
    let request = request(header(GET, DUMP, scope.family), |writer| scope.write(writer));
    // Connection tracking has no generations: its dumps are never marked as interrupted.
    socket.dump(DUMP_OBJECT, &request, |message| {
        if message.kind != SUBSYSTEM << 8 | NEW {
            return;
        }
        seen.sent += 1;
        let Some(flow) = Flow::parse(&message.attributes()) else { return };
        seen.unasked += u64::from(!scope.kernel_matches(&flow));
        if result.is_ok() && scope.matches(&flow) {
            result = each(flow);
        }
    })?;
    result.map(|()| seen)
}

/// Deletes flows, with one system call. How many of them were there.
fn delete(socket: &mut Socket, flows: &[Flow]) -> Result<usize, NetlinkError> {
    let key =
        |flow: &Flow| request(header(DELETE, 0, flow.family()), |writer: &mut Writer| flow.write_key(writer));
    let mut requests: Vec<Vec<u8>> = flows.iter().map(key).collect();
    let outcomes = socket.call("the deletion of a flow", &mut requests)?;
    let mut deleted = 0;
    for outcome in outcomes {
        match outcome {
            0 => deleted += 1,
            // It ended by itself, or another has its place.
            libc::ENOENT => {}
            code => return Err(NetlinkError::refused("the deletion of a flow", code)),
        }
    }
    Ok(deleted)
}

fn header(message: u16, flags: u16, family: u8) -> Header {
    Header { kind: SUBSYSTEM << 8 | message, flags, family }
}
