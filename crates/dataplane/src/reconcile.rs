//! Keeps the kernel at what a forwarding table says, in the network namespace of the thread that opened it.
//!
//! The first sync adopts what a previous process left: it reads the table back and sends the difference, nothing
//! when there is none. Later syncs send what changed. After any failure the kernel's state counts as unknown: it is
//! read back and repaired, a bounded number of times, then the error is the caller's to show and the next sync goes
//! on. Synchronous, spawns nothing, never touches another table.

mod error;
mod monitor;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use services::Protocol;

pub use error::Error;
pub use monitor::{Closer, Edit, Monitor};

use crate::forwarding_table::{ForwardingTable, FrontendKey, TableChanges};
use crate::netlink::{Faults, Socket};
use crate::nftables::{self, IPV4, Layout, Plan, Sent, State};

/// A failed sync is tried again after these pauses, then it fails.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(50), Duration::from_millis(200)];

/// What a sync did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// Transactions that were committed; 0 when the kernel had it all.
    pub transactions: u32,
    /// Elements that were added or deleted in them.
    pub elements: usize,
    /// Bytes that were sent.
    pub bytes: usize,
    /// UDP frontends that lost an endpoint or got their first: their flows may be stale, see
    /// [`crate::conntrack::Sweep`].
    pub stale: Vec<FrontendKey>,
}

/// Since the reconciler was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Syncs that were asked for.
    pub syncs: u64,
    /// Transactions committed.
    pub transactions: u64,
    /// Elements added or deleted.
    pub elements: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Times that the kernel's state was read back: once to adopt, then after each failure.
    pub readbacks: u64,
}

/// The nftables plane of one node.
#[derive(Debug)]
pub struct Reconciler {
    socket: Socket,
    layout: Layout,
    /// What the kernel holds; `None` until read, and after a failure.
    state: Option<State>,
    /// UDP frontends whose flows may be stale and that no sync has reported yet. One that fails may have taken effect,
    /// and what is read back then shows no difference any more.
    stale: BTreeSet<FrontendKey>,
    counters: Counters,
}

impl Reconciler {
    /// Opens the plane in the calling thread's network namespace. Nothing is written to our table yet.
    ///
    /// # Errors
    /// When the kernel refuses netfilter sockets or tables: [`crate::nftables::probe`] says more.
    pub fn open() -> Result<Self, Error> {
        let mut socket = Socket::open().map_err(Error::Open)?;
        let owned = nftables::can_own(&mut socket).map_err(Error::Open)?;
        let layout = Layout { family: &IPV4, table: nftables::TABLE, owned };
        Ok(Self { socket, layout, state: None, stale: BTreeSet::new(), counters: Counters::default() })
    }

    /// The same with a smaller send buffer than the system would give, in bytes: more, smaller transactions. What an
    /// ordinary user has in a user namespace is `net.core.wmem_max`, 212,992 by default.
    ///
    /// # Errors
    /// When the system refuses the size.
    pub fn with_send_buffer(mut self, bytes: usize) -> Result<Self, Error> {
        // The kernel doubles what is asked for.
        self.socket = Socket::open_small(bytes / 2).map_err(Error::Open)?;
        Ok(self)
    }

    /// The same without owning its tables, as on kernels before 6.9: other programs can change them.
    #[must_use]
    pub fn without_ownership(mut self) -> Self {
        self.layout.owned = false;
        self
    }

    /// What notices that others change our tables; `None` where nobody can. For another thread of this one's network
    /// namespace, which then has [`Reconciler::verify`] called.
    ///
    /// # Errors
    /// When the kernel's notifications cannot be had.
    pub fn monitor(&self) -> Result<Option<(Monitor, Closer)>, Error> {
        if self.is_owner() { Ok(None) } else { Monitor::open(&[self.socket.port()]).map(Some) }
    }

    /// Brings the kernel to `table`, given what was touched since the last sync.
    ///
    /// # Errors
    /// After several attempts. The next sync starts from what the kernel then holds, whatever it is told.
    pub fn sync(&mut self, table: &ForwardingTable, changes: &TableChanges) -> Result<Synced, Error> {
        self.counters.syncs += 1;
        let mut pauses = PAUSES.iter();
        loop {
            match self.attempt(table, Some(changes)) {
                Ok(synced) => return Ok(synced),
                Err(error) => {
                    self.failed(&error);
                    let Some(pause) = pauses.next() else { return Err(error) };
                    thread::sleep(*pause);
                }
            }
        }
    }

    /// Compares the kernel with `table` in full and repairs what differs; sends nothing when nothing does.
    ///
    /// # Errors
    /// As [`Reconciler::sync`].
    pub fn verify(&mut self, table: &ForwardingTable) -> Result<Synced, Error> {
        self.state = None;
        self.sync(table, &TableChanges::default())
    }

    /// Makes kernel calls fail as `faults` says, for tests; `None` ends it.
    pub fn set_faults(&mut self, faults: Option<Box<dyn Faults>>) {
        self.socket.set_faults(faults);
    }

    /// Counts since opening.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// True when the table is protected from other programs (kernel 6.9).
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.layout.owned
    }

    fn attempt(&mut self, table: &ForwardingTable, changes: Option<&TableChanges>) -> Result<Synced, Error> {
        let (state, changes) = match self.state.take() {
            Some(state) => (state, changes),
            None => (self.take_over()?, None),
        };
        let plan = Plan::new(&self.layout, &state, table, changes);
        let elements = plan.size();
        self.stale.extend(stale_udp(&plan));
        let sent = self.carry_out(&plan)?;
        let mut state = state;
        plan.apply(&mut state);
        self.state = Some(state);
        self.counters.transactions += u64::from(sent.transactions);
        self.counters.elements += elements as u64;
        let stale = std::mem::take(&mut self.stale).into_iter().collect();
        Ok(Synced { transactions: sent.transactions, elements, bytes: sent.bytes, stale })
    }

    /// Reads what is there, and becomes the owner of a table that a previous process left.
    fn take_over(&mut self) -> Result<State, Error> {
        self.counters.readbacks += 1;
        nftables::take_over(&mut self.socket, &self.layout).map_err(|error| match error.errno() {
            Some(libc::EPERM | libc::EOPNOTSUPP) if self.layout.owned => Error::Owned(error),
            _ => Error::Read(error),
        })
    }

    fn carry_out(&mut self, plan: &Plan) -> Result<Sent, Error> {
        if plan.is_empty() {
            return Ok(Sent::default());
        }
        nftables::carry_out(&mut self.socket, &self.layout, plan).map_err(Error::Write)
    }

    fn failed(&mut self, error: &Error) {
        self.state = None;
        self.counters.failures += 1;
        tracing::warn!(error = error as &dyn std::error::Error, "nftables sync failed");
    }
}

fn stale_udp(plan: &Plan) -> impl Iterator<Item = FrontendKey> {
    plan.stale().filter(|key| key.protocol == Protocol::Udp)
}

/// What the kernel holds in the calling thread's network namespace, in the format of
/// [`ForwardingTable::lines`]; no lines when we have no table. Needs no ownership: for `sluice dump nft`.
///
/// # Errors
/// When the kernel's state cannot be read.
pub fn dump() -> Result<Vec<String>, Error> {
    let mut socket = Socket::open().map_err(Error::Open)?;
    let layout = Layout { family: &IPV4, table: nftables::TABLE, owned: false };
    let state = nftables::read(&mut socket, &layout).map_err(Error::Read)?;
    Ok(state.lines())
}
