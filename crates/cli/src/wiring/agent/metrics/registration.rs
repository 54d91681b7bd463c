//! How the proxy's metrics come to be: with kube-proxy's prefix, labels and buckets, each of them registered.

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::Table;

/// Makes and registers. A name that is malformed or there twice is a mistake in `metrics`, which its test finds.
pub(super) struct Maker(Registry);

impl Maker {
    pub(super) fn new() -> Self {
        Self(Registry::new())
    }

    /// What is registered so far.
    pub(super) fn registry(&self) -> &Registry {
        &self.0
    }

    fn register<T: prometheus::core::Collector + Clone + 'static>(&self, made: prometheus::Result<T>) -> T {
        let made = made.expect("the names of metrics are well-formed");
        self.0.register(Box::new(made.clone())).expect("every metric has a name of its own");
        made
    }

    pub(super) fn histogram(&self, name: &str, help: &str, buckets: Vec<f64>) -> HistogramVec {
        let options = HistogramOpts::new(format!("kubeproxy_{name}"), help).buckets(buckets);
        self.register(HistogramVec::new(options, &["ip_family"]))
    }

    pub(super) fn time(&self, name: &str, help: &str) -> GaugeVec {
        self.register(GaugeVec::new(kube_proxy(name, help), &["ip_family"]))
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        self.register(IntGaugeVec::new(kube_proxy(name, help), labels))
    }

    pub(super) fn counters(&self, name: &str, help: &str, label: &str) -> IntCounterVec {
        self.register(IntCounterVec::new(kube_proxy(name, help), &[label]))
    }

    pub(super) fn changes(&self, name: &str, kind: &str) -> (IntGauge, IntCounter) {
        let name = format!("sync_proxy_rules_{name}_changes");
        let pending = kube_proxy(&format!("{name}_pending"), &format!("Pending proxy rules {kind} changes"));
        let total = kube_proxy(&format!("{name}_total"), &format!("Cumulative proxy rules {kind} changes"));
        (self.register(IntGauge::with_opts(pending)), self.register(IntCounter::with_opts(total)))
    }

    pub(super) fn table(&self) -> Table {
        let gauge = |name: &str, help: &str| self.register(IntGauge::new(format!("sluice_{name}"), help));
        let counter = |name: &str, help: &str| self.register(IntCounter::new(format!("sluice_{name}"), help));
        let build = Opts::new("sluice_build_info", "Always 1; the version is in the label")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        self.register(IntGauge::with_opts(build)).set(1);
        Table {
            services: gauge("services", "Services that are forwarded"),
            endpoints: gauge("endpoints", "Endpoints of all frontends together"),
            frontends: gauge("frontends", "Addresses and ports that are forwarded"),
            unprogrammed: gauge(
                "frontends_unprogrammed",
                "Addresses and ports that the kernel refuses to take",
            ),
            transactions: counter("nftables_transactions_total", "Transactions that the kernel committed"),
            elements: counter("nftables_elements_total", "Elements that they added or deleted"),
            readbacks: counter("nftables_readbacks_total", "Times that the kernel's state was read back"),
        }
    }
}

fn kube_proxy(name: &str, help: &str) -> Opts {
    Opts::new(format!("kubeproxy_{name}"), help)
}

/// 1 ms, doubled up to 16 s.
pub(super) fn sync_buckets() -> Vec<f64> {
    (0..15).map(|power| 0.001 * f64::from(1_u32 << power)).collect()
}

/// 0.25 s, 0.5 s, every second of the first minute, every 5 s of the second, every 30 s to the fifth.
pub(super) fn programming_buckets() -> Vec<f64> {
    let seconds = (1..60).chain((60..120).step_by(5)).chain((120..=300).step_by(30));
    [0.25, 0.5].into_iter().chain(seconds.map(f64::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_kube_proxy() {
        assert_eq!((sync_buckets().len(), sync_buckets().last()), (15, Some(&16.384)));
        let buckets = programming_buckets();
        assert_eq!((buckets.len(), buckets.first(), buckets.last()), (80, Some(&0.25), Some(&300.0)));
    }
}
