//! The counters of one thread of the hot path. The thread is their only writer, so an addition is no atomic one and costs
//! as much as on a plain number; readers may see a value that is a moment old.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::families::MONITORED;
use super::histogram::{DURATIONS, Histogram, SIZES};
use super::{Key, labels};
use crate::answer::Transport;
use crate::message::records::{kind_name, rcode_name};
use crate::tap::Tap;

/// Which server block counts are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// As CoreDNS names a server, `dns://:53`.
    pub server: String,
    /// The zone of the server block, `.`.
    pub zone: String,
}

/// A number that one thread writes.
#[derive(Debug, Default)]
struct Cell(AtomicU64);

impl Cell {
    fn add(&self, count: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(count), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Codes that are counted apart.
const CODES: usize = 17;

/// The counters.
#[derive(Debug)]
pub struct Worker {
    scope: ArcSwap<Scope>,
    tap: Arc<Tap>,
    /// Each query has a line in the log.
    logged: AtomicBool,
    transport: Transport,
    v6: bool,
    kinds: [Cell; MONITORED.len() + 1],
    codes: [Cell; CODES],
    cached_codes: [Cell; CODES],
    dnssec_ok: Cell,
    request_sizes: [Cell; SIZES.len() + 1],
    request_bytes: Cell,
    response_sizes: [Cell; SIZES.len() + 1],
    response_bytes: Cell,
    durations: [Cell; DURATIONS.len() + 1],
    nanoseconds: Cell,
}

impl Worker {
    pub(super) fn new(transport: Transport, v6: bool, tap: Arc<Tap>) -> Self {
        Self {
            scope: ArcSwap::default(),
            tap,
            logged: AtomicBool::new(false),
            transport,
            v6,
            kinds: Default::default(),
            codes: Default::default(),
            cached_codes: Default::default(),
            dnssec_ok: Cell::default(),
            request_sizes: Default::default(),
            request_bytes: Cell::default(),
            response_sizes: Default::default(),
            response_bytes: Cell::default(),
            durations: Default::default(),
            nanoseconds: Cell::default(),
        }
    }

    /// Says which server block the zone's answers count for from now on.
    pub fn set_scope(&self, scope: Scope) {
        self.scope.store(scope.into());
    }

    /// Says whether queries are logged from now on.
    pub(crate) fn set_logged(&self, logged: bool) {
        self.logged.store(logged, Ordering::Relaxed);
    }

    /// True when more is wanted of a query than its counts: two reads of flags that hardly ever change.
    pub(crate) fn is_observed(&self) -> bool {
        self.is_logged() || self.tap.is_watched()
    }

    /// True when queries are logged.
    pub(crate) fn is_logged(&self) -> bool {
        self.logged.load(Ordering::Relaxed)
    }

    /// Who may watch.
    pub(crate) fn tap(&self) -> &Tap {
        &self.tap
    }

    /// Counts one query with the answer that the zone gave. Only the thread that owns these counters may call it.
    pub fn count(&self, query: &[u8], answer: &[u8]) {
        self.codes[code_of(answer)].add(1);
        self.count_sizes(query, answer);
    }

    /// The same for an answer out of the cache.
    pub fn count_cached(&self, query: &[u8], answer: &[u8]) {
        self.cached_codes[code_of(answer)].add(1);
        self.count_sizes(query, answer);
    }

    fn count_sizes(&self, query: &[u8], answer: &[u8]) {
        self.kinds[kind_index(question_type(query))].add(1);
        if wants_dnssec(answer) {
            self.dnssec_ok.add(1);
        }
        self.request_sizes[size_index(query.len())].add(1);
        self.request_bytes.add(query.len() as u64);
        self.response_sizes[size_index(answer.len())].add(1);
        self.response_bytes.add(answer.len() as u64);
    }

    /// Counts that so many queries were answered after this time: those of a batch leave together.
    pub fn took(&self, queries: u64, duration: Duration) {
        self.durations[duration_index(duration)].add(queries);
        self.nanoseconds.add((duration.as_nanos() as u64).saturating_mul(queries));
    }

    /// Adds these counts to those of the chain.
    pub(super) fn collect(
        &self,
        counters: &mut BTreeMap<Key, u64>,
        histograms: &mut BTreeMap<Key, Histogram>,
    ) {
        let scope = self.scope.load();
        let scope = [("server", &scope.server[..]), ("zone", &scope.zone[..]), ("view", "")];
        let proto = if self.transport == Transport::Udp { "udp" } else { "tcp" };
        let family = if self.v6 { "2" } else { "1" };
        let mut add = |name, pairs: &[(&str, &str)], cell: &Cell| {
            if cell.get() > 0 {
                *counters.entry((name, labels(&[&scope[..], pairs].concat()))).or_default() += cell.get();
            }
        };
        for (index, cell) in self.kinds.iter().enumerate() {
            let kind = MONITORED.get(index).map_or_else(|| "other".to_owned(), |kind| kind_name(*kind));
            add("coredns_dns_requests_total", &[("proto", proto), ("family", family), ("type", &kind)], cell);
        }
        for (code, cell) in (0..).zip(&self.codes) {
            add(
                "coredns_dns_responses_total",
                &[("rcode", rcode_name(code)), ("plugin", "kubernetes")],
                cell,
            );
        }
        for (code, cell) in (0..).zip(&self.cached_codes) {
            add("coredns_dns_responses_total", &[("rcode", rcode_name(code)), ("plugin", "cache")], cell);
        }
        add("coredns_dns_do_requests_total", &[], &self.dnssec_ok);
        let sized = labels(&[&scope[..], &[("proto", proto)]].concat());
        let mut merge = |name, labels: String, bounds, cells: &[Cell], sum: f64| {
            if cells.iter().any(|cell| cell.get() > 0) {
                let histogram = histograms.entry((name, labels)).or_insert_with(|| Histogram::new(bounds));
                histogram.merge(cells.iter().map(Cell::get), sum);
            }
        };
        let bytes = |cell: &Cell| cell.get() as f64;
        let (requests, responses) = (bytes(&self.request_bytes), bytes(&self.response_bytes));
        merge("coredns_dns_request_size_bytes", sized.clone(), &SIZES, &self.request_sizes, requests);
        merge("coredns_dns_response_size_bytes", sized, &SIZES, &self.response_sizes, responses);
        let seconds = bytes(&self.nanoseconds) / 1e9;
        merge("coredns_dns_request_duration_seconds", labels(&scope), &DURATIONS, &self.durations, seconds);
    }
}

/// The code in an answer's header.
fn code_of(answer: &[u8]) -> usize {
    usize::from(answer.get(3).copied().unwrap_or(0) & 0x0f)
}

/// The DO bit, which our own OPT record at the end of an answer repeats.
fn wants_dnssec(answer: &[u8]) -> bool {
    answer.last_chunk::<11>().is_some_and(|opt| opt[..3] == [0, 0, 41] && opt[7] & 0x80 != 0)
}

/// The type in the question of a query that was read before; 0 when it has none.
fn question_type(query: &[u8]) -> u16 {
    let mut at = crate::message::HEADER_BYTES;
    while let Some(length) = query.get(at).filter(|length| **length > 0) {
        at += usize::from(*length) + 1;
    }
    crate::message::read_u16(query, at + 1).unwrap_or(0)
}

/// A and AAAA come first: they are nearly all.
pub(super) fn kind_index(kind: u16) -> usize {
    MONITORED.iter().position(|known| *known == kind).unwrap_or(MONITORED.len())
}

/// The bucket of a size; nearly all are in the first three.
pub(super) fn size_index(bytes: usize) -> usize {
    SIZES_IN_BYTES.iter().position(|bound| bytes <= *bound).unwrap_or(SIZES.len())
}

/// The bucket of a duration.
pub(super) fn duration_index(duration: Duration) -> usize {
    let seconds = duration.as_secs_f64();
    DURATIONS.partition_point(|bound| *bound < seconds)
}

/// [`SIZES`] as whole numbers, which compare faster.
static SIZES_IN_BYTES: [usize; SIZES.len()] =
    [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn both_lists_of_sizes_are_one() {
        assert!(SIZES.iter().zip(SIZES_IN_BYTES).all(|(bound, bytes)| *bound as usize == bytes));
    }

    #[test]
    fn counts_of_threads_are_added_up() {
        let metrics = Metrics::default();
        let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x1c\0\x01";
        for _ in 0..2 {
            let worker = metrics.worker(Transport::Udp, false);
            worker.set_scope(Scope { server: "dns://:53".into(), zone: ".".into() });
            worker.count(query, &[0, 0, 0x84, 3]);
            worker.took(1, Duration::from_micros(300));
        }
        let text = metrics.render();
        for line in [
            r#"coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="AAAA"} 2"#,
            r#"coredns_dns_responses_total{server="dns://:53",zone=".",view="",rcode="NXDOMAIN",plugin="kubernetes"} 2"#,
            r#"coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",view="",le="0.00025"} 0"#,
            r#"coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",view="",le="0.0005"} 2"#,
            r#"coredns_dns_request_size_bytes_count{server="dns://:53",zone=".",view="",proto="udp"} 2"#,
            "# TYPE coredns_dns_requests_total counter",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
    }
}
