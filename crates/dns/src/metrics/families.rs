//! The metrics that exist: name, kind and CoreDNS's help text.

use super::histogram::{DURATIONS, PROGRAMMING_DURATIONS, REQUEST_DURATIONS, SLIM_DURATIONS};
use crate::message::rtype;

/// All samples of one name.
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) help: &'static str,
}

const fn family(name: &'static str, kind: &'static str, help: &'static str) -> Family {
    Family { name, kind, help }
}

const COUNTER: &str = "counter";
const GAUGE: &str = "gauge";
const HISTOGRAM: &str = "histogram";

pub(super) static FAMILIES: [Family; 33] = [
    family("coredns_autopath_success_total", COUNTER, "Counter of requests that did autopath."),
    family(
        "coredns_build_info",
        GAUGE,
        "A metric with a constant '1' value labeled by version, revision, and goversion from which CoreDNS was built.",
    ),
    family(
        "coredns_cache_drops_total",
        COUNTER,
        "The number responses that are not cached, because the reply is malformed.",
    ),
    family("coredns_cache_entries", GAUGE, "The number of elements in the cache."),
    family("coredns_cache_evictions_total", COUNTER, "The count of cache evictions."),
    family("coredns_cache_hits_total", COUNTER, "The count of cache hits."),
    family(
        "coredns_cache_misses_total",
        COUNTER,
        "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
    ),
    family(
        "coredns_cache_prefetch_total",
        COUNTER,
        "The number of times the cache has prefetched a cached item.",
    ),
    family("coredns_cache_requests_total", COUNTER, "The count of cache requests."),
    family(
        "coredns_cache_served_stale_total",
        COUNTER,
        "The number of requests served from stale cache entries.",
    ),
    family("coredns_dns_do_requests_total", COUNTER, "Counter of DNS requests with DO bit set per zone."),
    family(
        "coredns_dns_request_duration_seconds",
        HISTOGRAM,
        "Histogram of the time (in seconds) each request took per zone.",
    ),
    family(
        "coredns_dns_request_size_bytes",
        HISTOGRAM,
        "Size of the EDNS0 UDP buffer in bytes (64K for TCP) per zone and protocol.",
    ),
    family(
        "coredns_dns_requests_total",
        COUNTER,
        "Counter of DNS requests made per zone, protocol and family.",
    ),
    family("coredns_dns_response_size_bytes", HISTOGRAM, "Size of the returned response in bytes."),
    family("coredns_dns_responses_total", COUNTER, "Counter of response status codes."),
    family(
        "coredns_forward_healthcheck_broken_total",
        COUNTER,
        "Counter of the number of complete failures of the healthchecks.",
    ),
    family(
        "coredns_forward_max_concurrent_rejects_total",
        COUNTER,
        "Counter of the number of queries rejected because the concurrent queries were at maximum.",
    ),
    family(
        "coredns_health_request_duration_seconds",
        HISTOGRAM,
        "Histogram of the time (in seconds) each request took.",
    ),
    family("coredns_health_request_failures_total", COUNTER, "The number of times the health check failed."),
    family("coredns_hosts_entries", GAUGE, "The combined number of entries in hosts and Corefile."),
    family(
        "coredns_kubernetes_dns_programming_duration_seconds",
        HISTOGRAM,
        "Histogram of the time (in seconds) it took to program a dns instance.",
    ),
    family(
        "coredns_kubernetes_rest_client_request_duration_seconds",
        HISTOGRAM,
        "Request latency in seconds. Broken down by verb and host.",
    ),
    family(
        "coredns_kubernetes_rest_client_requests_total",
        COUNTER,
        "Number of HTTP requests, partitioned by status code, method, and host.",
    ),
    family("coredns_panics_total", COUNTER, "A metrics that counts the number of panics."),
    family(
        "coredns_plugin_enabled",
        GAUGE,
        "A metric that indicates whether a plugin is enabled on per server and zone basis.",
    ),
    family(
        "coredns_proxy_conn_cache_hits_total",
        COUNTER,
        "Counter of connection cache hits per upstream and protocol.",
    ),
    family(
        "coredns_proxy_conn_cache_misses_total",
        COUNTER,
        "Counter of connection cache misses per upstream and protocol.",
    ),
    family(
        "coredns_proxy_healthcheck_failures_total",
        COUNTER,
        "Counter of the number of failed healthchecks.",
    ),
    family("coredns_proxy_request_duration_seconds", HISTOGRAM, "Histogram of the time each request took."),
    family("coredns_reload_failed_total", COUNTER, "Counter of the number of failed reload attempts."),
    family(
        "coredns_reload_version_info",
        GAUGE,
        "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
    ),
    family("coredns_template_matches_total", COUNTER, "Counter of template regex matches."),
];

/// The buckets of a histogram of durations.
pub(super) fn bounds(name: &str) -> &'static [f64] {
    match name {
        "coredns_health_request_duration_seconds" => &SLIM_DURATIONS,
        "coredns_kubernetes_rest_client_request_duration_seconds" => &REQUEST_DURATIONS,
        "coredns_kubernetes_dns_programming_duration_seconds" => &PROGRAMMING_DURATIONS,
        _ => &DURATIONS,
    }
}

/// The types that are counted by their names; the rest are "other".
pub(super) const MONITORED: [u16; 19] = [
    rtype::A,
    rtype::AAAA,
    rtype::CNAME,
    rtype::MX,
    rtype::NS,
    rtype::PTR,
    rtype::SOA,
    rtype::SRV,
    rtype::TXT,
    rtype::IXFR,
    rtype::AXFR,
    43,
    46,
    47,
    48,
    50,
    64,
    65,
    255,
];
