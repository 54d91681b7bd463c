//! What the server counts, under CoreDNS's names with CoreDNS's labels, so that its dashboards and alerts go on working.
//!
//! ```text
//! UDP thread ─► its own Worker (plain stores, no sharing)                      ─┐
//! plugins    ─► ScopeCounts, UpstreamCounts (atomic numbers of one block, one upstream) ─┼─► render: the Prometheus text format
//! the rest   ─► Metrics (a map behind a lock)                                  ─┘
//! ```
//! A counter of the hot path belongs to one thread, which is the only one that writes it: a load, an addition, a store. What
//! the plugins count has its place from the start, found once when a Corefile is read. Only what is rare, and `template`,
//! which makes texts anyway, goes by name and labels.

mod counts;
mod families;
mod histogram;
mod worker;

use crate::answer::Transport;
use crate::tap::Tap;
use counts::All;
pub(crate) use counts::{Carrier, ScopeCounts, Served, UpstreamCounts};
use histogram::Histogram;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
pub use worker::{Scope, Worker};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a cache counts.
#[derive(Debug, Default)]
pub(crate) struct CacheCounts {
    pub(crate) requests: Counter,
    pub(crate) hits_success: Counter,
    pub(crate) hits_denial: Counter,
    pub(crate) misses: Counter,
    pub(crate) prefetches: Counter,
    pub(crate) served_stale: Counter,
    pub(crate) evictions_success: Counter,
    pub(crate) evictions_denial: Counter,
}

impl CacheCounts {
    pub(crate) fn evicted(&self, success: bool, count: u64) {
        if success { self.evictions_success.add(count) } else { self.evictions_denial.add(count) }
    }
}

type Key = (&'static str, String);
/// Values that are read from elsewhere when they are asked for: name, labels, value.
type Source = Box<dyn Fn(&mut dyn FnMut(&'static str, String, u64)) -> bool + Send + Sync>;

/// All counts of a process. They outlive a reload.
#[derive(Default)]
pub struct Metrics {
    counters: Mutex<BTreeMap<Key, u64>>,
    histograms: Mutex<BTreeMap<Key, Histogram>>,
    workers: Mutex<Vec<Arc<Worker>>>,
    scopes: Mutex<Vec<Arc<ScopeCounts>>>,
    upstreams: Mutex<Vec<Arc<UpstreamCounts>>>,
    /// Queries for which all upstreams were down.
    pub(crate) checks_broken: Counter,
    /// Queries beyond `max_concurrent`.
    pub(crate) concurrency_rejected: Counter,
    sources: Mutex<Vec<Source>>,
    tap: Arc<Tap>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Labels in the text format. Values of ours hold neither quotes nor line ends.
fn labels(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (index, (name, value)) in pairs.iter().enumerate() {
        let separator = if index == 0 { "" } else { "," };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator}{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""));
    }
    text
}

impl Metrics {
    /// Sets a value that does not grow, such as `coredns_build_info`.
    pub fn set(&self, name: &'static str, pairs: &[(&str, &str)], value: u64) {
        locked(&self.counters).insert((name, labels(pairs)), value);
    }

    /// Adds to a counter.
    pub fn add(&self, name: &'static str, pairs: &[(&str, &str)], count: u64) {
        *locked(&self.counters).entry((name, labels(pairs))).or_default() += count;
    }

    /// Forgets all values of a name: its labels may have changed.
    pub fn clear(&self, name: &'static str) {
        locked(&self.counters).retain(|(known, _), _| *known != name);
    }

    /// Counts a duration in seconds.
    pub fn observe(&self, name: &'static str, pairs: &[(&str, &str)], seconds: f64) {
        let mut histograms = locked(&self.histograms);
        let histogram = histograms.entry((name, labels(pairs)));
        histogram.or_insert_with(|| Histogram::new(families::bounds(name))).observe(seconds);
    }

    /// The counters of a new thread of the hot path.
    #[must_use]
    pub fn worker(&self, transport: Transport, v6: bool) -> Arc<Worker> {
        let worker = Arc::new(Worker::new(transport, v6, Arc::clone(&self.tap)));
        locked(&self.workers).push(Arc::clone(&worker));
        worker
    }

    /// Where somebody can watch single queries.
    #[must_use]
    pub fn tap(&self) -> &Arc<Tap> {
        &self.tap
    }

    /// Values that live with something else; they go when it does.
    pub(crate) fn follow<T: Send + Sync + 'static>(
        &self,
        owner: &Arc<T>,
        read: impl Fn(&T, &mut dyn FnMut(&'static str, String, u64)) + Send + Sync + 'static,
    ) {
        let owner: Weak<T> = Arc::downgrade(owner);
        let source: Source = Box::new(move |each| {
            owner.upgrade().is_some_and(|owner| {
                read(&owner, each);
                true
            })
        });
        locked(&self.sources).push(source);
    }

    /// The counts of one zone of a server block. They outlive it: after a reload the same scope finds them again.
    pub(crate) fn scope(&self, scope: &Scope) -> Arc<ScopeCounts> {
        let mut scopes = locked(&self.scopes);
        if let Some(known) = scopes.iter().find(|known| known.scope == *scope) {
            return Arc::clone(known);
        }
        scopes.push(Arc::new(ScopeCounts::new(scope.clone())));
        Arc::clone(&scopes[scopes.len() - 1])
    }

    /// The counts of the upstream of this name, which outlive it too.
    pub(crate) fn upstream(&self, to: &str) -> Arc<UpstreamCounts> {
        let mut upstreams = locked(&self.upstreams);
        if let Some(known) = upstreams.iter().find(|known| known.to == to) {
            return Arc::clone(known);
        }
        upstreams.push(Arc::new(UpstreamCounts::new(to.to_owned())));
        Arc::clone(&upstreams[upstreams.len() - 1])
    }

    /// Everything in the Prometheus text format (version 0.0.4).
    #[must_use]
    pub fn render(&self) -> String {
        let (counters, histograms) = self.collect();
        let mut text = String::new();
        for family in &families::FAMILIES {
            let values = counters
                .range((family.name, String::new())..)
                .take_while(|((name, _), _)| *name == family.name);
            let mut values = values.peekable();
            let drawn = histograms.range((family.name, String::new())..);
            let mut drawn = drawn.take_while(|((name, _), _)| *name == family.name).peekable();
            if values.peek().is_none() && drawn.peek().is_none() {
                continue;
            }
            // Writing to a String cannot fail.
            let _ = write!(text, "# HELP {0} {1}\n# TYPE {0} {2}\n", family.name, family.help, family.kind);
            for ((name, labels), value) in values {
                let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
                let _ = writeln!(text, "{name}{labels} {value}");
            }
            for ((name, labels), histogram) in drawn {
                histogram.render(name, labels, &mut text);
            }
        }
        text
    }

    fn collect(&self) -> (BTreeMap<Key, u64>, BTreeMap<Key, Histogram>) {
        let (mut counters, mut histograms) =
            (locked(&self.counters).clone(), locked(&self.histograms).clone());
        locked(&self.sources).retain(|source| {
            source(&mut |name, labels, value| *counters.entry((name, labels)).or_default() += value)
        });
        for worker in locked(&self.workers).iter() {
            worker.collect(&mut counters, &mut histograms);
        }
        let mut all = All { counters: &mut counters, histograms: &mut histograms };
        locked(&self.scopes).iter().for_each(|scope| scope.collect(&mut all));
        locked(&self.upstreams).iter().for_each(|upstream| upstream.collect(&mut all));
        all.add("coredns_forward_healthcheck_broken_total", &[], &self.checks_broken);
        all.add("coredns_forward_max_concurrent_rejects_total", &[], &self.concurrency_rejected);
        (counters, histograms)
    }
}

/// The labels of a cache's counts.
pub(crate) fn cache_labels(scope: &Scope, zones: &str, kind: Option<&str>) -> String {
    let mut pairs = vec![("server", &scope.server[..])];
    pairs.extend(kind.map(|kind| ("type", kind)));
    pairs.extend([("zones", zones), ("view", "")]);
    labels(&pairs)
}
