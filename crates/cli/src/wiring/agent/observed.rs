//! What the proxy half leaves for those who ask: its health and its metrics. The feed and the proxy's thread write, the
//! HTTP servers read; nobody waits for another.

use std::time::{Instant, SystemTime};

use super::health::Health;
use super::metrics::Metrics;
use super::proxy_config::ProxyConfig;

/// Shared by feed, proxy and servers.
pub(crate) struct Observed {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    /// Changes from before are not measured: how long they took is not ours.
    began: SystemTime,
}

impl Observed {
    /// Of a proxy that starts now.
    pub(crate) fn new(config: &ProxyConfig) -> Self {
        Self { health: Health::new(config.sync_period), metrics: Metrics::new(), began: SystemTime::now() }
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
