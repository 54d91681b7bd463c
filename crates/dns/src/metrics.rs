//! What the server counts, under CoreDNS's names with CoreDNS's labels, so that its dashboards and alerts go on working.
//!
//! ```text
//! UDP thread ─► its own Worker (plain stores, no sharing) ─┐
//! slow thread ─► Metrics (a map behind a lock)            ─┴─► render: the Prometheus text format
//! ```
//! A counter of the hot path belongs to one thread, which is the only one that writes it: a load, an addition, a store.
//! Everything slow goes by name and labels.

mod families;
mod histogram;
mod worker;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use crate::answer::Transport;
use crate::chain::Upstream;
use crate::message::records::{kind_name, rcode_name};
use crate::tap::Tap;
use histogram::Histogram;
pub(crate) use histogram::{DURATIONS, SIZES};
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

/// A query that went through the chain, with its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served<'s> {
    pub(crate) scope: &'s Scope,
    pub(crate) transport: Transport,
    pub(crate) v6: bool,
    pub(crate) kind: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) request_bytes: usize,
    pub(crate) response_bytes: usize,
    pub(crate) rcode: u16,
    pub(crate) plugin: &'s str,
    pub(crate) duration: Duration,
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
        self.observe_in(name, labels(pairs), families::bounds(name), seconds);
    }

    fn observe_in(&self, name: &'static str, labels: String, bounds: &'static [f64], value: f64) {
        let mut histograms = locked(&self.histograms);
        histograms.entry((name, labels)).or_insert_with(|| Histogram::new(bounds)).observe(value);
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

    /// Counts a query of the chain.
    pub(crate) fn served(&self, served: &Served<'_>) {
        let Scope { server, zone } = served.scope;
        let scope = [("server", &server[..]), ("zone", &zone[..]), ("view", "")];
        let proto = if served.transport == Transport::Udp { "udp" } else { "tcp" };
        let family = if served.v6 { "2" } else { "1" };
        let kind = families::monitored(served.kind).map_or_else(|| "other".to_owned(), kind_name);
        let mut counters = locked(&self.counters);
        let mut count = |name, pairs: &[(&str, &str)]| {
            let labels = labels(&[&scope[..], pairs].concat());
            *counters.entry((name, labels)).or_default() += 1;
        };
        count("coredns_dns_requests_total", &[("proto", proto), ("family", family), ("type", &kind)]);
        let rcode = rcode_name(served.rcode);
        count("coredns_dns_responses_total", &[("rcode", rcode), ("plugin", served.plugin)]);
        if served.dnssec_ok {
            count("coredns_dns_do_requests_total", &[]);
        }
        drop(counters);
        let sized = labels(&[&scope[..], &[("proto", proto)]].concat());
        let (request, response) = (served.request_bytes as f64, served.response_bytes as f64);
        self.observe_in("coredns_dns_request_size_bytes", sized.clone(), &SIZES, request);
        self.observe_in("coredns_dns_response_size_bytes", sized, &SIZES, response);
        let seconds = served.duration.as_secs_f64();
        self.observe_in("coredns_dns_request_duration_seconds", labels(&scope), &DURATIONS, seconds);
    }

    /// Counts an upstream's answer.
    pub(crate) fn upstream_answered(&self, upstream: &Upstream, rcode: u8, duration: Duration) {
        let (to, rcode) = (upstream.label(), rcode_name(u16::from(rcode)));
        let pairs = [("proxy_name", "forward"), ("to", &to[..]), ("rcode", rcode)];
        self.observe("coredns_proxy_request_duration_seconds", &pairs, duration.as_secs_f64());
    }

    /// Counts a stream to an upstream.
    pub(crate) fn connection(&self, upstream: &Upstream, reused: bool) {
        let name = if reused {
            "coredns_proxy_conn_cache_hits_total"
        } else {
            "coredns_proxy_conn_cache_misses_total"
        };
        let proto = if upstream.is_tls() { "tcp-tls" } else { "tcp" };
        self.add(name, &[("proxy_name", "forward"), ("to", &upstream.label()), ("proto", proto)], 1);
    }

    /// Counts a failed health check of an upstream.
    pub(crate) fn check_failed(&self, upstream: &Upstream) {
        let pairs = [("proxy_name", "forward"), ("to", &upstream.label()[..])];
        self.add("coredns_proxy_healthcheck_failures_total", &pairs, 1);
    }

    /// Counts a query for which all upstreams were down.
    pub(crate) fn checks_broken(&self) {
        self.add("coredns_forward_healthcheck_broken_total", &[], 1);
    }

    /// Counts a query beyond `max_concurrent`.
    pub(crate) fn concurrency_rejected(&self) {
        self.add("coredns_forward_max_concurrent_rejects_total", &[], 1);
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
