//! What the proxy half leaves for those who ask: its health, its metrics, and reports of what went wrong. The feed and the
//! proxy's thread write, the HTTP servers read; nobody waits for another.

use std::time::{Instant, SystemTime};

use tokio::sync::mpsc;

use super::events::{Report, Reports};
use super::health::Health;
use super::metrics::Metrics;
use super::proxy_config::ProxyConfig;

/// Shared by feed, proxy and servers.
pub(crate) struct Observed {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    pub(crate) reports: Reports,
    /// Changes from before are not measured: how long they took is not ours.
    began: SystemTime,
}

impl Observed {
    /// Of a proxy that starts now, and where its reports arrive.
    pub(crate) fn new(config: &ProxyConfig) -> (Self, mpsc::Receiver<Report>) {
        let (reports, arriving) = Reports::channel();
        let (health, metrics) = (Health::new(config.sync_period), Metrics::new());
        (Self { health, metrics, reports, began: SystemTime::now() }, arriving)
    }

    /// An update is on its way to the kernel.
    pub(crate) fn queued(&self) {
        self.health.queued();
        self.metrics.queued();
    }

    /// When the change that an object carries was triggered, if that is ours to measure.
    pub(crate) fn trigger(&self, annotation: &str) -> Option<SystemTime> {
        let triggered: jiff::Timestamp = annotation.parse().ok()?;
        Some(SystemTime::from(triggered)).filter(|time| *time > self.began)
    }

    /// A sync ended well: `began` is its start, `triggers` are those of the changes in it.
    pub(crate) fn synced(&self, began: Instant, full: bool, triggers: &[SystemTime]) {
        self.health.updated();
        self.metrics.synced(began.elapsed(), full);
        let now = SystemTime::now();
        for trigger in triggers {
            self.metrics.programmed(now.duration_since(*trigger).unwrap_or_default());
        }
    }
}
