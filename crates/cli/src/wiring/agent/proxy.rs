//! The proxy half: each update of the model becomes one nftables transaction. A sync that fails in spite of the
//! reconciler's own attempts is repeated with growing pauses, or with the next update, whichever comes first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use dataplane::conntrack::{Conntrack, Filter, Sweep, Sweeper};
use dataplane::forwarding_table::{ForwardingTable, NodeFacts, TableChanges};
use dataplane::reconcile::Reconciler;
use ipnet::IpNet;
use tracing::{debug, info};

use super::Config;
use super::slot::{Slot, Taken, Update};
use super::stages::Stages;

/// First and longest pause before a failed sync is repeated.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What must be true on this node, and what brings the kernel there.
pub(crate) struct Plane {
    pub(crate) table: ForwardingTable,
    reconciler: Reconciler,
}

/// Flows that a dump of conntrack shows at most.
const FLOWS_MAX: usize = 100_000;

/// The translated connections of this thread's network namespace.
pub(crate) fn tracked_connections() -> anyhow::Result<Vec<String>> {
    let mut conntrack = Conntrack::open().context("opening conntrack")?;
    let flows = conntrack.flows(&Filter::All, FLOWS_MAX).context("reading conntrack")?;
    let translated = flows.iter().filter(|flow| flow.is_translated());
    let mut lines: Vec<String> = translated.map(ToString::to_string).collect();
    lines.sort_unstable();
    Ok(lines)
}

/// The proxy's thread.
pub(crate) struct Proxy {
    plane: Arc<Mutex<Plane>>,
    stages: Arc<Stages>,
    /// What no transaction has carried yet.
    pending: TableChanges,
    synced_once: bool,
    /// Cuts UDP flows to endpoints that left, on a thread of its own: that must never delay a transaction.
    sweeper: Arc<Sweeper>,
}

impl Proxy {
    /// Opens the kernel's side in this thread's network namespace. Writes nothing.
    pub(crate) fn open(
        config: &Config,
        service_cidrs: Vec<IpNet>,
        stages: Arc<Stages>,
    ) -> anyhow::Result<Self> {
        let mut facts = NodeFacts::new(config.node.as_str(), service_cidrs);
        for address in config.dns.iter().flat_map(|dns| dns.listen.first()) {
            facts = facts.answering_dns(address.ip());
        }
        let reconciler =
            Reconciler::open().context("opening nf_tables; `sluice check` says what this kernel can do")?;
        let sweeper = start_sweeper()?;
        let plane = Arc::new(Mutex::new(Plane { table: ForwardingTable::new(facts), reconciler }));
        stages.set_plane(Arc::clone(&plane));
        Ok(Self { plane, stages, pending: TableChanges::default(), synced_once: false, sweeper })
    }

    /// Programs the kernel until the slot is closed.
    pub(crate) fn run(mut self, slot: &Slot) {
        let mut pause = None;
        loop {
            match slot.take(pause) {
                Taken::Update(update) => self.take(&update),
                Taken::Timeout => {}
                Taken::Closed => return self.sweeper.close(),
            }
            pause = match self.sync() {
                true => None,
                false => Some(pause.map_or(RETRY_PAUSE.0, |pause| (pause * 2).min(RETRY_PAUSE.1))),
            };
        }
    }

    fn take(&mut self, update: &Update) {
        let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
        self.pending.merge(plane.table.update(&update.snapshot, &update.changes));
        self.stages.set_snapshot(update.snapshot.clone());
    }

    /// One sync; false when it failed. The reconciler has then told why.
    fn sync(&mut self) -> bool {
        let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
        let Plane { table, reconciler } = &mut *plane;
        let Ok(synced) = reconciler.sync(table, &self.pending) else { return false };
        self.sweeper.push(Sweep::new(table, &synced.stale));
        self.pending = TableChanges::default();
        self.stages.proxy_synced();
        if !self.synced_once {
            info!(
                elements = synced.elements,
                transactions = synced.transactions,
                "the kernel holds the services"
            );
            self.synced_once = true;
        }
        debug!(?synced, "synced");
        true
    }
}

fn start_sweeper() -> anyhow::Result<Arc<Sweeper>> {
    let mut conntrack = Conntrack::open().context("opening conntrack")?;
    let sweeper = Arc::new(Sweeper::new());
    let worker = Arc::clone(&sweeper);
    let thread = std::thread::Builder::new().name("sweeper".into()).stack_size(256 * 1024);
    thread.spawn(move || worker.run(&mut conntrack)).context("starting the sweeper's thread")?;
    Ok(sweeper)
}
