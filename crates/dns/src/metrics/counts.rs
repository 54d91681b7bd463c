//! What answers of the chain are counted in: made once for each server block and each upstream, so that a query takes no lock
//! and builds no text. Several threads write here, so additions are atomic, each to a number of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use super::families::MONITORED;
use super::histogram::{DURATIONS, Histogram, SIZES};
use super::worker::{Scope, duration_index, kind_index, size_index};
use super::{Counter, Key, labels};
use crate::answer::Transport;
use crate::message::records::{kind_name, rcode_name};

/// Who makes answers in the chain; whatever else is counted as nobody's.
const PLUGINS: [&str; 11] = [
    "",
    "any",
    "autopath",
    "cache",
    "forward",
    "hosts",
    "kubernetes",
    "local",
    "loop",
    "rewrite",
    "template",
];
/// Codes that are counted apart, and one for all others.
const CODES: [u16; 8] = [0, 1, 2, 3, 4, 5, 16, u16::MAX];
/// Types that are counted apart, and the others.
const KINDS: usize = MONITORED.len() + 1;

/// A query that went through the chain, with its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Served<'s> {
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

/// A histogram that many threads add to.
#[derive(Debug)]
struct Spread<const BUCKETS: usize> {
    buckets: [Counter; BUCKETS],
    sum: Counter,
}

impl<const BUCKETS: usize> Default for Spread<BUCKETS> {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| Counter::default()), sum: Counter::default() }
    }
}

impl<const BUCKETS: usize> Spread<BUCKETS> {
    fn add(&self, bucket: usize, value: u64) {
        self.buckets[bucket].add(1);
        self.sum.add(value);
    }

    /// Adds it to those with the same labels; `unit` is what the sum is divided by.
    fn collect(&self, all: &mut All<'_>, key: Key, bounds: &'static [f64], unit: f64) {
        if self.buckets.iter().any(|bucket| bucket.get() > 0) {
            let histogram = all.histograms.entry(key).or_insert_with(|| Histogram::new(bounds));
            histogram.merge(self.buckets.iter().map(Counter::get), self.sum.get() as f64 / unit);
        }
    }
}

type Sizes = Spread<{ SIZES.len() + 1 }>;
type Durations = Spread<{ DURATIONS.len() + 1 }>;

impl Durations {
    fn took(&self, duration: Duration) {
        self.add(duration_index(duration), u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Where counts are read to.
pub(super) struct All<'a> {
    pub(super) counters: &'a mut BTreeMap<Key, u64>,
    pub(super) histograms: &'a mut BTreeMap<Key, Histogram>,
}

impl All<'_> {
    pub(super) fn add(&mut self, name: &'static str, pairs: &[(&str, &str)], counter: &Counter) {
        if counter.get() > 0 {
            *self.counters.entry((name, labels(pairs))).or_default() += counter.get();
        }
    }
}

/// The counts of one zone of a server block.
#[derive(Debug, Default)]
pub(crate) struct ScopeCounts {
    pub(crate) scope: Scope,
    /// By transport, address family and type.
    requests: [[[Counter; KINDS]; 2]; 2],
    /// By plugin and code.
    responses: [[Counter; CODES.len()]; PLUGINS.len()],
    dnssec_ok: Counter,
    /// By transport.
    request_sizes: [Sizes; 2],
    response_sizes: [Sizes; 2],
    durations: Durations,
    /// Names that `autopath` has found.
    pub(crate) searches: Counter,
}

/// The labels of a transport, in the order of the counts.
const TRANSPORTS: [&str; 2] = ["udp", "tcp"];

impl ScopeCounts {
    pub(super) fn new(scope: Scope) -> Self {
        Self { scope, ..Self::default() }
    }

    /// Counts a query of the chain.
    pub(crate) fn served(&self, served: &Served<'_>) {
        let transport = usize::from(served.transport == Transport::Tcp);
        self.requests[transport][usize::from(served.v6)][kind_index(served.kind)].add(1);
        let plugin = PLUGINS.iter().position(|known| *known == served.plugin).unwrap_or(0);
        self.responses[plugin][code_index(served.rcode)].add(1);
        if served.dnssec_ok {
            self.dnssec_ok.add(1);
        }
        let (request, response) = (served.request_bytes, served.response_bytes);
        self.request_sizes[transport].add(size_index(request), request as u64);
        self.response_sizes[transport].add(size_index(response), response as u64);
        self.durations.took(served.duration);
    }

    pub(super) fn collect(&self, all: &mut All<'_>) {
        let scope = [("server", &self.scope.server[..]), ("zone", &self.scope.zone[..]), ("view", "")];
        for (proto, families) in TRANSPORTS.iter().zip(&self.requests) {
            for (family, kinds) in ["1", "2"].iter().zip(families) {
                for (index, counter) in kinds.iter().enumerate() {
                    let kind =
                        MONITORED.get(index).map_or_else(|| "other".to_owned(), |kind| kind_name(*kind));
                    let pairs = [("proto", *proto), ("family", *family), ("type", &kind[..])];
                    all.add("coredns_dns_requests_total", &[&scope[..], &pairs].concat(), counter);
                }
            }
        }
        for (plugin, codes) in PLUGINS.iter().zip(&self.responses) {
            for (code, counter) in CODES.iter().zip(codes) {
                let pairs = [("rcode", rcode_name(*code)), ("plugin", plugin)];
                all.add("coredns_dns_responses_total", &[&scope[..], &pairs].concat(), counter);
            }
        }
        all.add("coredns_dns_do_requests_total", &scope, &self.dnssec_ok);
        all.add("coredns_autopath_success_total", &scope[..1], &self.searches);
        for (index, proto) in TRANSPORTS.iter().enumerate() {
            let sized = labels(&[&scope[..], &[("proto", proto)]].concat());
            let requests = ("coredns_dns_request_size_bytes", sized.clone());
            self.request_sizes[index].collect(all, requests, &SIZES, 1.0);
            let responses = ("coredns_dns_response_size_bytes", sized);
            self.response_sizes[index].collect(all, responses, &SIZES, 1.0);
        }
        let durations = ("coredns_dns_request_duration_seconds", labels(&scope));
        self.durations.collect(all, durations, &DURATIONS, 1e9);
    }
}

/// What carries a question to an upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Carrier {
    Udp,
    Tcp,
    Tls,
}

/// Their names, in order.
const CARRIERS: [&str; 3] = ["udp", "tcp", "tcp-tls"];

/// The counts of one upstream.
#[derive(Debug, Default)]
pub(crate) struct UpstreamCounts {
    /// Its address.
    pub(super) to: String,
    answers: [Durations; CODES.len()],
    /// By what carried the question.
    reused: [Counter; CARRIERS.len()],
    opened: [Counter; CARRIERS.len()],
    checks_failed: Counter,
}

impl UpstreamCounts {
    pub(super) fn new(to: String) -> Self {
        Self { to, ..Self::default() }
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, rcode: u8, duration: Duration) {
        self.answers[code_index(rcode.into())].took(duration);
    }

    /// Counts a connection that was asked over.
    pub(crate) fn connection(&self, carrier: Carrier, reused: bool) {
        let counters = if reused { &self.reused } else { &self.opened };
        counters[carrier as usize].add(1);
    }

    /// Counts a failed health check.
    pub(crate) fn check_failed(&self) {
        self.checks_failed.add(1);
    }

    pub(super) fn collect(&self, all: &mut All<'_>) {
        let upstream = [("proxy_name", "forward"), ("to", &self.to[..])];
        for (code, durations) in CODES.iter().zip(&self.answers) {
            let labels = labels(&[&upstream[..], &[("rcode", rcode_name(*code))]].concat());
            durations.collect(all, ("coredns_proxy_request_duration_seconds", labels), &DURATIONS, 1e9);
        }
        for (index, proto) in CARRIERS.iter().enumerate() {
            let pairs = [&upstream[..], &[("proto", proto)]].concat();
            all.add("coredns_proxy_conn_cache_hits_total", &pairs, &self.reused[index]);
            all.add("coredns_proxy_conn_cache_misses_total", &pairs, &self.opened[index]);
        }
        all.add("coredns_proxy_healthcheck_failures_total", &upstream, &self.checks_failed);
    }
}

fn code_index(code: u16) -> usize {
    CODES.iter().position(|known| *known == code).unwrap_or(CODES.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn counts_outlive_those_who_count_and_read_as_before() {
        let metrics = Metrics::default();
        let scope = Scope { server: "dns://:53".into(), zone: ".".into() };
        for plugin in ["forward", "cache", "forward"] {
            metrics.scope(&scope).served(&Served {
                transport: Transport::Udp,
                v6: false,
                kind: 28,
                dnssec_ok: true,
                request_bytes: 40,
                response_bytes: 120,
                rcode: 3,
                plugin,
                duration: Duration::from_micros(300),
            });
        }
        metrics.scope(&scope).searches.add(1);
        let upstream = metrics.upstream("192.0.2.1:53");
        upstream.answered(0, Duration::from_millis(3));
        upstream.answered(9, Duration::from_millis(3));
        upstream.connection(Carrier::Tls, false);
        let text = metrics.render();
        for line in [
            r#"coredns_autopath_success_total{server="dns://:53"} 1"#,
            r#"coredns_dns_do_requests_total{server="dns://:53",zone=".",view=""} 3"#,
            r#"coredns_dns_requests_total{server="dns://:53",zone=".",view="",proto="udp",family="1",type="AAAA"} 3"#,
            r#"coredns_dns_responses_total{server="dns://:53",zone=".",view="",rcode="NXDOMAIN",plugin="forward"} 2"#,
            r#"coredns_dns_responses_total{server="dns://:53",zone=".",view="",rcode="NXDOMAIN",plugin="cache"} 1"#,
            r#"coredns_dns_request_size_bytes_bucket{server="dns://:53",zone=".",view="",proto="udp",le="100"} 3"#,
            r#"coredns_dns_response_size_bytes_sum{server="dns://:53",zone=".",view="",proto="udp"} 360"#,
            r#"coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone=".",view="",le="0.0005"} 3"#,
            r#"coredns_proxy_request_duration_seconds_count{proxy_name="forward",to="192.0.2.1:53",rcode="NOERROR"} 1"#,
            r#"coredns_proxy_request_duration_seconds_count{proxy_name="forward",to="192.0.2.1:53",rcode="RESERVED"} 1"#,
            r#"coredns_proxy_conn_cache_misses_total{proxy_name="forward",to="192.0.2.1:53",proto="tcp-tls"} 1"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        }
        assert!(!text.contains(r#"proto="tcp""#), "what did not happen is not there\n{text}");
    }
}
