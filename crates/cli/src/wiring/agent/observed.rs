//! What the proxy half leaves for those who ask: its health, its metrics, and reports of what went wrong. The feed and the
//! proxy's thread write, the HTTP servers read; nobody waits for another.

use std::time::{Duration, Instant, SystemTime, SystemTimeError};

use tokio::sync::mpsc;

use super::events::{Report, Reports};
use super::health::{FAMILIES, Health};
use super::metrics::Metrics;
use super::proxy_config::ProxyConfig;

/// When a change of endpoints happened, as far as the API tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trigger {
    at: SystemTime,
    ipv6: bool,
}

impl Trigger {
    /// How long ago; an error for a clock that is behind the API's.
    pub(crate) fn elapsed(&self) -> Result<Duration, SystemTimeError> {
        self.at.elapsed()
    }
}

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
    pub(crate) fn trigger(&self, annotation: &str, ipv6: bool) -> Option<Trigger> {
        let triggered: jiff::Timestamp = annotation.parse().ok()?;
        Some(Trigger { at: triggered.into(), ipv6 }).filter(|trigger| trigger.at > self.began)
    }

    /// A sync ended well: `began` is its start, `triggers` are those of the changes in it.
    pub(crate) fn synced(&self, began: Instant, full: bool, triggers: &[Trigger]) {
        self.health.updated();
        self.metrics.synced(began.elapsed(), full);
        for trigger in triggers {
            let family = FAMILIES[usize::from(trigger.ipv6)];
            self.metrics.programmed(family, trigger.elapsed().unwrap_or_default());
        }
    }
}
