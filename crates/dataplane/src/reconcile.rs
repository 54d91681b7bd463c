//! Keeps the kernel at what a forwarding table says, in the network namespace of the thread that opened it.
//!
//! The first sync adopts what a previous process left: it reads the table back and sends the difference, nothing
//! when there is none. Later syncs send what changed. After any failure the kernel's state counts as unknown: it is
//! read back and repaired, a bounded number of times, then the error is the caller's to show and the next sync goes
//! on. Each IP family has a table of its own, and neither waits for the other: when one fails, the other is still
//! brought up to date. Synchronous, spawns nothing, never touches another table.

mod aside;
mod error;
mod isolate;
mod monitor;
mod plane;

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

pub use aside::{Part, Unprogrammed};
pub use error::Error;
pub use monitor::{Closer, Edit, Monitor};

use crate::forwarding_table::{ForwardingTable, FrontendKey, TableChanges};
use crate::netlink::{Faults, Socket};
use crate::nftables::{self, IPV4, IPV6, Layout};
use plane::{Done, Plane};

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
    /// The longest that the kernel worked on one transaction: for so long others' transactions in this network namespace
    /// waited.
    pub longest: Duration,
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
    /// Times that the kernel's state was read back, family by family: once to adopt, then after each failure.
    pub readbacks: u64,
}

/// The nftables plane of one node.
#[derive(Debug)]
pub struct Reconciler {
    socket: Socket,
    planes: [Plane; 2],
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
        // A kernel with owned tables (6.9) refuses from nat chains (5.9).
        let late = !owned && !nftables::can_refuse_early(&mut socket).map_err(Error::Open)?;
        let planes = [&IPV4, &IPV6].map(|family| Plane::new(family, owned, late));
        Ok(Self { socket, planes, stale: BTreeSet::new(), counters: Counters::default() })
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
        self.planes.iter_mut().for_each(|plane| plane.layout.owned = false);
        self
    }

    /// The same with filter chains that refuse, as on kernels before 5.9.
    #[must_use]
    pub fn with_late_refusal(mut self) -> Self {
        self.planes.iter_mut().for_each(|plane| plane.layout.late_refusal = true);
        self
    }

    /// What notices that others change our tables; `None` where nobody can. For another thread of this one's network
    /// namespace, which then has [`Reconciler::repair`] called.
    ///
    /// # Errors
    /// When the kernel's notifications cannot be had.
    pub fn monitor(&self) -> Result<Option<(Monitor, Closer)>, Error> {
        if self.is_owner() { Ok(None) } else { Monitor::open(&[self.socket.port()]).map(Some) }
    }

    /// Brings the kernel to `table`, given what was touched since the last sync.
    ///
    /// # Errors
    /// After several attempts; the first family's error when both fail. The next sync starts from what the kernel then
    /// holds, whatever it is told. The other family may have changed: [`Reconciler::take_stale`].
    pub fn sync(&mut self, table: &ForwardingTable, changes: &TableChanges) -> Result<Synced, Error> {
        self.counters.syncs += 1;
        let mut synced = Synced::default();
        let mut failure = None;
        for index in 0..self.planes.len() {
            match self.sync_family(index, table, changes) {
                Ok(done) => {
                    synced.transactions += done.sent.transactions;
                    synced.elements += done.sent.elements;
                    synced.bytes += done.sent.bytes;
                    synced.longest = synced.longest.max(done.sent.longest);
                }
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(error) = failure {
            return Err(error);
        }
        synced.stale = self.take_stale();
        Ok(synced)
    }

    /// UDP frontends whose flows may be stale although the sync failed, for another family or only in part.
    pub fn take_stale(&mut self) -> Vec<FrontendKey> {
        std::mem::take(&mut self.stale).into_iter().collect()
    }

    fn sync_family(
        &mut self,
        index: usize,
        table: &ForwardingTable,
        changes: &TableChanges,
    ) -> Result<Done, Error> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.planes[index].attempt(&mut self.socket, table, changes, &mut self.stale) {
                Ok(done) => {
                    self.counters.readbacks += u64::from(done.read_back);
                    self.counters.transactions += u64::from(done.sent.transactions);
                    self.counters.elements += done.sent.elements as u64;
                    return Ok(done);
                }
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
        self.planes.iter_mut().for_each(Plane::forget);
        self.sync(table, &TableChanges::default())
    }

    /// The same after somebody else changed our tables: all rules are written anew, because what they do is not read back.
    ///
    /// # Errors
    /// As [`Reconciler::sync`].
    pub fn repair(&mut self, table: &ForwardingTable) -> Result<Synced, Error> {
        self.planes.iter_mut().for_each(Plane::doubt);
        self.sync(table, &TableChanges::default())
    }

    /// Frontends, and addresses of them, that the kernel refuses. All others are programmed; these are tried again with growing pauses, and when
    /// their Service changes.
    pub fn unprogrammed(&self) -> impl Iterator<Item = &Unprogrammed> {
        self.planes.iter().flat_map(|plane| plane.aside.iter())
    }

    /// How long until one of them is to be tried again, by any sync.
    #[must_use]
    pub fn retry_in(&self) -> Option<Duration> {
        let next = self.planes.iter().filter_map(|plane| plane.aside.next_retry()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
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

    /// True when our tables are protected from other programs (kernel 6.9).
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.planes[0].layout.owned
    }

    fn failed(&mut self, error: &Error) {
        self.counters.failures += 1;
        tracing::warn!(error = error as &dyn std::error::Error, "nftables sync failed");
    }
}

/// How many connections were made to each frontend since the kernel has it, in the calling thread's network namespace and
/// in no order. What is counted is a flow's first packet, so one that is refused or dropped counts each time that its
/// client tries again. Counts outlive the process and changes of endpoints, but for what comes while these are written;
/// another layout of the table starts anew.
///
/// # Errors
/// When the kernel's state cannot be read.
pub fn connections() -> Result<Vec<(FrontendKey, u64)>, Error> {
    let mut socket = Socket::open().map_err(Error::Open)?;
    let mut counted = Vec::new();
    for family in [&IPV4, &IPV6] {
        let layout = Layout::plain(family, nftables::TABLE);
        let found = nftables::connections(&mut socket, &layout);
        counted.extend(found.map_err(|cause| Error::Read { family: family.name(), cause })?);
    }
    Ok(counted)
}

/// What the kernel holds in the calling thread's network namespace, in the format of
/// [`ForwardingTable::lines`]; no lines when we have no tables. Needs no ownership: for `sluice dump nft`.
///
/// # Errors
/// When the kernel's state cannot be read.
pub fn dump() -> Result<Vec<String>, Error> {
    let mut socket = Socket::open().map_err(Error::Open)?;
    let mut tables = Vec::new();
    for family in [&IPV4, &IPV6] {
        let layout = Layout::plain(family, nftables::TABLE);
        let state = nftables::read(&mut socket, &layout);
        let state = state.map_err(|cause| Error::Read { family: family.name(), cause })?;
        tables.push((family, state));
    }
    Ok(nftables::lines(&tables))
}
