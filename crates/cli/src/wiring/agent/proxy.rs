//! The proxy half: each update of the model becomes one nftables transaction, at once; while updates keep coming, one
//! every [`PACE`], so that a change waits for no longer than that and the transaction before it. A sync that fails in spite
//! of the reconciler's own attempts is repeated with growing pauses, or with the next update, whichever comes first.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use dataplane::conntrack::{Conntrack, Filter, Sweep, Sweeper, Swept};
use dataplane::forwarding_table::{ForwardingTable, FrontendKey, Kind, NodeFacts, TableChanges, Target};
use dataplane::reconcile::{self, Closer, Part, Reconciler, Synced};
use services::Snapshot;
use tokio::sync::watch;
use tracing::{debug, info};

use super::connections::Connections;
use super::events::Report;
use super::memory;
use super::node_facts::{Surroundings, node_facts};
use super::observed::{Observed, Trigger};
use super::proxy_config::ProxyConfig;
use super::service_health::Checks;
use super::slot::{Slot, TRIGGERS_MAX, Taken, Update};
use super::stages::Stages;
use super::{guard, metrics};

/// First and longest pause before a failed sync is repeated.
const RETRY_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// From the start of one sync to that of the next, at least: what changes meanwhile shares a transaction.
const PACE: Duration = Duration::from_millis(5);

/// What must be true on this node, and what brings the kernel there.
pub(crate) struct Plane {
    pub(crate) table: ForwardingTable,
    reconciler: Reconciler,
}

impl Plane {
    /// Compares the kernel with the table in full and repairs it. Before the first sync there is nothing to repair: the
    /// table does not know everything yet.
    pub(crate) fn repair(&mut self) -> Result<Synced, reconcile::Error> {
        match self.reconciler.counters().syncs {
            0 => Ok(Synced::default()),
            _ => self.reconciler.repair(&self.table),
        }
    }

    /// Counts what is there; in proportion to the table, so only for who asks.
    pub(crate) fn metrics(&self, connections: &HashMap<FrontendKey, u64>) -> metrics::Plane {
        let (mut services, mut internal, mut external) = (HashSet::new(), HashSet::new(), HashSet::new());
        let connections = Connections::of(&self.table, connections);
        let mut counted = metrics::Plane { connections, ..metrics::Plane::default() };
        for (key, frontend) in self.table.frontends() {
            services.insert(&frontend.service);
            counted.frontends += 1;
            counted.endpoints += frontend.endpoints().count();
            let port = (key.address.is_ipv6(), &frontend.service, &frontend.port);
            if frontend.kind == Kind::ClusterIp && frontend.target == Target::Drop {
                internal.insert(port);
            }
            if frontend.outside == Some(Target::Drop) {
                external.insert(port);
            }
        }
        let counters = self.reconciler.counters();
        counted.services = services.len();
        let by_family = |ports: &HashSet<(bool, _, _)>| {
            let ipv6 = ports.iter().filter(|(ipv6, _, _)| *ipv6).count();
            [ports.len() - ipv6, ipv6]
        };
        (counted.no_local_internal, counted.no_local_external) = (by_family(&internal), by_family(&external));
        (counted.transactions, counted.elements) = (counters.transactions, counters.elements);
        counted.readbacks = counters.readbacks;
        counted.unprogrammed = self.reconciler.unprogrammed().count();
        counted
    }
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

/// What the proxy's thread works with.
pub(crate) struct Outfit {
    pub(crate) node: String,
    pub(crate) config: ProxyConfig,
    /// The address that this node's DNS answers itself.
    pub(crate) dns_address: Option<IpAddr>,
    pub(crate) stages: Arc<Stages>,
    pub(crate) observed: Arc<Observed>,
    /// Where the health checks of Services hear of endpoints.
    pub(crate) checks: watch::Sender<Checks>,
}

/// The proxy's thread.
pub(crate) struct Proxy {
    outfit: Outfit,
    plane: Arc<Mutex<Plane>>,
    around: Arc<Surroundings>,
    /// What no transaction has carried yet.
    pending: Pending,
    checks: Checks,
    last_start: Option<Instant>,
    taken_once: bool,
    synced_once: bool,
    /// When a frontend that the kernel refused is to be tried again.
    retry_in: Option<Duration>,
    /// Those of which was told.
    refused: HashSet<Part>,
    /// Cuts UDP flows to endpoints that left, on a thread of its own: that must never delay a transaction.
    sweeper: Arc<Sweeper>,
    /// Ends the thread that repairs what others change, where they can.
    _guard: Option<Closer>,
}

#[derive(Default)]
struct Pending {
    table: TableChanges,
    checks: bool,
    triggers: Vec<Trigger>,
}

impl Proxy {
    /// Opens the kernel's side in this thread's network namespace. Writes nothing.
    pub(crate) fn open(outfit: Outfit) -> anyhow::Result<Self> {
        let reconciler =
            Reconciler::open().context("opening nf_tables; `sluice check` says what this kernel can do")?;
        let sweeper = start_sweeper(Arc::clone(&outfit.observed))?;
        let monitor = reconciler.monitor().context("listening for changes that others make to our tables")?;
        let plane = Arc::new(Mutex::new(Plane { table: ForwardingTable::default(), reconciler }));
        let guard = monitor.map(|(monitor, closer)| {
            guard::start(monitor, Arc::clone(&plane), Arc::clone(&sweeper)).map(|()| closer)
        });
        outfit.stages.set_plane(Arc::clone(&plane));
        Ok(Self {
            outfit,
            plane,
            around: Arc::default(),
            pending: Pending::default(),
            checks: Checks::default(),
            last_start: None,
            taken_once: false,
            synced_once: false,
            retry_in: None,
            refused: HashSet::new(),
            sweeper,
            _guard: guard.transpose()?,
        })
    }

    /// Programs the kernel until the slot is closed.
    pub(crate) fn run(mut self, slot: &Slot) {
        let mut pause = None;
        loop {
            match slot.take(pause) {
                Taken::Update(update) => self.take(update),
                Taken::Timeout => {}
                Taken::Closed => return self.sweeper.close(),
            }
            self.keep_pace(slot);
            pause = match self.sync() {
                true => self.retry_in,
                false => Some(pause.map_or(RETRY_PAUSE.0, |pause| (pause * 2).min(RETRY_PAUSE.1))),
            };
        }
    }

    /// Waits until the next sync may start, and takes what comes meanwhile.
    fn keep_pace(&mut self, slot: &Slot) {
        let pace = PACE.max(self.outfit.config.min_sync_period);
        let Some(next) = self.last_start.map(|start| start + pace) else { return };
        loop {
            let wait = next.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return;
            }
            match slot.take(Some(wait)) {
                Taken::Update(update) => self.take(update),
                // What was taken is still written.
                Taken::Timeout | Taken::Closed => return,
            }
        }
    }

    fn take(&mut self, update: Update) {
        let Outfit { node, observed, stages, .. } = &self.outfit;
        observed.metrics.taken();
        // The one before may just have been reported as done.
        observed.health.queued();
        let facts_changed =
            !self.taken_once || update.around.is_some() || update.changes.nodes.contains(node.as_str());
        self.around = update.around.unwrap_or_else(|| Arc::clone(&self.around));
        let facts = facts_changed.then(|| self.facts(&update.snapshot));
        let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
        match facts {
            Some(facts) if self.taken_once => {
                self.pending.table.merge(plane.table.set_facts(facts, &update.snapshot));
            }
            Some(facts) => plane.table = ForwardingTable::new(facts),
            None => {}
        }
        self.taken_once = true;
        self.pending.table.merge(plane.table.update(&update.snapshot, &update.changes));
        let addresses = plane.table.facts().node_port_addresses.iter().copied();
        self.pending.checks |= self.checks.update(node, &update.snapshot, &update.changes, addresses);
        let room = TRIGGERS_MAX.saturating_sub(self.pending.triggers.len());
        self.pending.triggers.extend(update.triggers.into_iter().take(room));
        stages.set_snapshot(update.snapshot);
    }

    fn facts(&self, snapshot: &Snapshot) -> NodeFacts {
        let Outfit { node, config, dns_address, .. } = &self.outfit;
        let object = snapshot.nodes.get(node.as_str());
        let facts = node_facts(node, config, object.map(AsRef::as_ref), &self.around);
        match dns_address {
            Some(address) => facts.answering_dns(*address),
            None => facts,
        }
    }

    /// One sync; false when it failed. The reconciler has then told why.
    fn sync(&mut self) -> bool {
        let began = Instant::now();
        self.last_start = Some(began);
        let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
        let Plane { table, reconciler } = &mut *plane;
        let readbacks = reconciler.counters().readbacks;
        let Ok(synced) = reconciler.sync(table, &self.pending.table) else {
            self.outfit.observed.metrics.failed();
            // Some of it may have taken effect.
            self.sweeper.push(Sweep::new(table, &reconciler.take_stale()));
            return false;
        };
        self.sweeper.push(Sweep::new(table, &synced.stale));
        self.retry_in = reconciler.retry_in();
        tell_refused(&mut self.refused, reconciler, &self.outfit.observed);
        let full = reconciler.counters().readbacks != readbacks;
        drop(plane);
        let pending = std::mem::take(&mut self.pending);
        self.outfit.observed.synced(began, full, &pending.triggers);
        if pending.checks {
            self.outfit.checks.send_replace(self.checks.clone());
        }
        self.outfit.stages.proxy_synced();
        if !self.synced_once {
            info!(
                elements = synced.elements,
                transactions = synced.transactions,
                "the kernel holds the services"
            );
            self.synced_once = true;
            memory::give_back();
        }
        debug!(?synced, "synced");
        true
    }
}

/// Makes an Event of each frontend that the kernel refuses, once until it is taken.
fn tell_refused(told: &mut HashSet<Part>, reconciler: &Reconciler, observed: &Observed) {
    let refused: HashSet<Part> = reconciler.unprogrammed().map(|refused| refused.part).collect();
    told.retain(|part| refused.contains(part));
    for unprogrammed in reconciler.unprogrammed() {
        if let (true, Some(service)) = (told.insert(unprogrammed.part), &unprogrammed.service) {
            observed.reports.leave(Report {
                service: service.clone(),
                reason: "FailedToProgram",
                action: "ProgramService",
                note: unprogrammed.to_string(),
            });
        }
    }
}

fn start_sweeper(observed: Arc<Observed>) -> anyhow::Result<Arc<Sweeper>> {
    let mut conntrack = Conntrack::open().context("opening conntrack")?;
    let sweeper = Arc::new(Sweeper::new());
    let worker = Arc::clone(&sweeper);
    let thread = std::thread::Builder::new().name("sweeper".into()).stack_size(256 * 1024);
    let tell = move |swept: &Swept, took| {
        let ipv4 = swept.deleted - swept.deleted_ipv6;
        observed.metrics.swept(took, [ipv4, swept.deleted_ipv6]);
    };
    let work = move || worker.run_and_tell(&mut conntrack, tell);
    thread.spawn(work).context("starting the sweeper's thread")?;
    Ok(sweeper)
}
