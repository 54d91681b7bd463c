//! The proxy's metrics with kube-proxy's names, types, labels and buckets (pkg/proxy/metrics), so that its dashboards and
//! alerts go on working, and a few of our own (`sluice_`). In the text format that Prometheus and `curl` read.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::{
    GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};
use registration::{Maker, programming_buckets, sync_buckets};

use super::connections::Connections;
use super::health::FAMILIES;
use super::process::Process;

mod registration;

/// The content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What of the data plane is counted elsewhere and taken over when somebody asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plane {
    pub(crate) services: usize,
    pub(crate) endpoints: usize,
    pub(crate) frontends: usize,
    pub(crate) unprogrammed: usize,
    /// IPv4 and IPv6, as [`FAMILIES`].
    pub(crate) no_local_internal: [usize; 2],
    pub(crate) no_local_external: [usize; 2],
    pub(crate) transactions: u64,
    pub(crate) elements: u64,
    pub(crate) readbacks: u64,
    pub(crate) connections: Connections,
}

/// All of them.
pub(crate) struct Metrics {
    registry: Registry,
    sync: HistogramVec,
    sync_full: HistogramVec,
    sync_partial: HistogramVec,
    programming: HistogramVec,
    last_synced: GaugeVec,
    last_queued: GaugeVec,
    endpoint_changes: (IntGauge, IntCounter),
    service_changes: (IntGauge, IntCounter),
    no_local: IntGaugeVec,
    sync_failures: IntCounterVec,
    conntrack: HistogramVec,
    conntrack_deleted: IntCounterVec,
    healthz: IntCounterVec,
    livez: IntCounterVec,
    table: Table,
    process: Mutex<Process>,
}

/// Our own, of the table and what was written to the kernel for it.
struct Table {
    services: IntGauge,
    endpoints: IntGauge,
    frontends: IntGauge,
    unprogrammed: IntGauge,
    transactions: IntCounter,
    elements: IntCounter,
    readbacks: IntCounter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let make = Maker::new();
        let duration = |name, help| make.histogram(name, help, sync_buckets());
        let metrics = Self {
            sync: duration("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds"),
            sync_full: duration(
                "sync_full_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds for full resyncs",
            ),
            sync_partial: duration(
                "sync_partial_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds for partial resyncs",
            ),
            programming: make.histogram(
                "network_programming_duration_seconds",
                "In Cluster Network Programming Latency in seconds",
                programming_buckets(),
            ),
            last_synced: make.time(
                "sync_proxy_rules_last_timestamp_seconds",
                "The last time proxy rules were successfully synced",
            ),
            last_queued: make.time(
                "sync_proxy_rules_last_queued_timestamp_seconds",
                "The last time a sync of proxy rules was queued",
            ),
            endpoint_changes: make.changes("endpoint", "Endpoint"),
            service_changes: make.changes("service", "Service"),
            no_local: make.gauges(
                "sync_proxy_rules_no_local_endpoints_total",
                "Number of services with a Local traffic policy and no endpoints",
                &["traffic_policy", "ip_family"],
            ),
            sync_failures: make.counters(
                "sync_proxy_rules_nftables_sync_failures_total",
                "Cumulative proxy nftables sync failures",
                "ip_family",
            ),
            conntrack: duration(
                "conntrack_reconciler_sync_duration_seconds",
                "ReconcileConntrackFlowsLatency latency in seconds",
            ),
            conntrack_deleted: make.counters(
                "conntrack_reconciler_deleted_entries_total",
                "Cumulative conntrack flows deleted by conntrack reconciler",
                "ip_family",
            ),
            healthz: make.counters("proxy_healthz_total", "Cumulative proxy healthz HTTP status", "code"),
            livez: make.counters("proxy_livez_total", "Cumulative proxy livez HTTP status", "code"),
            table: make.table(),
            process: Mutex::new(Process::new(make.registry())),
            registry: make.registry().clone(),
        };
        // There is no clean-up here that could fail; the name is kube-proxy's, and whoever watches it reads 0.
        let cleanup = make.counters(
            "sync_proxy_rules_nftables_cleanup_failures_total",
            "Cumulative proxy nftables stale chain cleanup failures",
            "ip_family",
        );
        for family in FAMILIES {
            cleanup.with_label_values(&[family]);
            metrics.sync_failures.with_label_values(&[family]);
            metrics.conntrack_deleted.with_label_values(&[family]);
        }
        metrics
    }

    /// A sync was asked for.
    pub(crate) fn queued(&self) {
        for family in FAMILIES {
            self.last_queued.with_label_values(&[family]).set(now_seconds());
        }
    }

    /// A sync ended well; `full` when the kernel's state was read back first.
    pub(crate) fn synced(&self, took: Duration, full: bool) {
        let kind = if full { &self.sync_full } else { &self.sync_partial };
        for family in FAMILIES {
            self.sync.with_label_values(&[family]).observe(took.as_secs_f64());
            kind.with_label_values(&[family]).observe(took.as_secs_f64());
            self.last_synced.with_label_values(&[family]).set(now_seconds());
        }
    }

    /// A sync failed.
    pub(crate) fn failed(&self) {
        for family in FAMILIES {
            self.sync_failures.with_label_values(&[family]).inc();
        }
    }

    /// The kernel holds a change of a family's endpoints that was triggered so long ago.
    pub(crate) fn programmed(&self, family: &str, took: Duration) {
        self.programming.with_label_values(&[family]).observe(took.as_secs_f64());
    }

    /// An EndpointSlice came, changed or went.
    pub(crate) fn endpoint_changed(&self) {
        self.endpoint_changes.0.inc();
        self.endpoint_changes.1.inc();
    }

    /// A Service likewise.
    pub(crate) fn service_changed(&self) {
        self.service_changes.0.inc();
        self.service_changes.1.inc();
    }

    /// What was pending is being synced.
    pub(crate) fn taken(&self) {
        self.endpoint_changes.0.set(0);
        self.service_changes.0.set(0);
    }

    /// Flows to endpoints that left were looked for.
    pub(crate) fn swept(&self, took: Duration, deleted: [usize; 2]) {
        for (family, deleted) in FAMILIES.into_iter().zip(deleted) {
            self.conntrack.with_label_values(&[family]).observe(took.as_secs_f64());
            self.conntrack_deleted.with_label_values(&[family]).inc_by(deleted as u64);
        }
    }

    pub(crate) fn asked_healthz(&self, healthy: bool) {
        self.healthz.with_label_values(&[code(healthy)]).inc();
    }

    pub(crate) fn asked_livez(&self, healthy: bool) {
        self.livez.with_label_values(&[code(healthy)]).inc();
    }

    /// The text that `/metrics` answers.
    pub(crate) fn render(&self, plane: &Plane) -> String {
        self.table.take_over(plane);
        for (policy, counts) in [("internal", plane.no_local_internal), ("external", plane.no_local_external)]
        {
            for (family, count) in FAMILIES.into_iter().zip(counts) {
                self.no_local.with_label_values(&[policy, family]).set(signed(count as u64));
            }
        }
        self.process.lock().unwrap_or_else(PoisonError::into_inner).take_over();
        let mut families = self.registry.gather();
        families.extend(plane.connections.families());
        // It fails for families without metrics only, and those are not gathered.
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

impl Table {
    fn take_over(&self, plane: &Plane) {
        let gauges = [
            (&self.services, plane.services),
            (&self.endpoints, plane.endpoints),
            (&self.frontends, plane.frontends),
            (&self.unprogrammed, plane.unprogrammed),
        ];
        for (gauge, count) in gauges {
            gauge.set(signed(count as u64));
        }
        let counters = [
            (&self.transactions, plane.transactions),
            (&self.elements, plane.elements),
            (&self.readbacks, plane.readbacks),
        ];
        for (counter, total) in counters {
            counter.inc_by(total.saturating_sub(counter.get()));
        }
    }
}

fn code(healthy: bool) -> &'static str {
    if healthy { "200" } else { "503" }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every metric of kube-proxy 1.37 in nftables mode that is its own, as its `/metrics` names them.
    const OF_KUBE_PROXY: &str = include_str!("testdata/kube-proxy-metrics.txt");

    #[test]
    fn names_and_types_are_those_of_kube_proxy() {
        let metrics = Metrics::new();
        metrics.queued();
        metrics.synced(Duration::from_millis(3), true);
        metrics.synced(Duration::from_millis(3), false);
        metrics.programmed("IPv4", Duration::from_millis(700));
        metrics.failed();
        metrics.endpoint_changed();
        metrics.service_changed();
        metrics.asked_healthz(true);
        metrics.asked_livez(false);
        metrics.swept(Duration::from_millis(1), [2, 0]);
        let text = metrics.render(&Plane { no_local_internal: [2, 0], ..Plane::default() });
        for line in OF_KUBE_PROXY.lines() {
            assert!(text.contains(&format!("# TYPE {line}\n")), "{line} is missing in\n{text}");
        }
        for line in [
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.002\"} 0",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family=\"IPv4\",le=\"0.004\"} 2",
            "kubeproxy_network_programming_duration_seconds_bucket{ip_family=\"IPv4\",le=\"1\"} 1",
            "kubeproxy_network_programming_duration_seconds_bucket{ip_family=\"IPv4\",le=\"300\"} 1",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{ip_family=\"IPv4\",traffic_policy=\"internal\"} 2",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1",
            "kubeproxy_proxy_livez_total{code=\"503\"} 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 2",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.taken();
        assert!(metrics.render(&Plane::default()).contains("endpoint_changes_pending 0"));
    }
}
