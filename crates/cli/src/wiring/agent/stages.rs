//! The state of every stage, for whoever asks: `sluice dump` and the health check.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context, bail};
use dataplane::forwarding_table::Packet;
use services::Snapshot;

use super::explanation::{Delivery, NameAnswer, NodeSelf};
use super::names::Dns;
use super::proxy::Plane;
use super::watched::Watched;
use super::{connections, metrics};

/// Handles to the running halves; each is set once it runs.
#[derive(Default)]
pub(crate) struct Stages {
    plane: OnceLock<Arc<Mutex<Plane>>>,
    dns: OnceLock<Arc<Dns>>,
    snapshot: Mutex<Snapshot>,
    proxy_synced: AtomicBool,
    dns_synced: AtomicBool,
}

impl Stages {
    /// Of an agent with these halves. They count as not synced from here on, long before they run.
    pub(crate) fn new(proxy: bool, dns: bool) -> Self {
        Self { proxy_synced: AtomicBool::new(!proxy), dns_synced: AtomicBool::new(!dns), ..Self::default() }
    }

    pub(crate) fn set_plane(&self, plane: Arc<Mutex<Plane>>) {
        let _ = self.plane.set(plane);
    }

    pub(crate) fn set_dns(&self, dns: Arc<Dns>) {
        let _ = self.dns.set(dns);
    }

    /// The kernel holds what the first snapshot asked for.
    pub(crate) fn proxy_synced(&self) {
        self.proxy_synced.store(true, Ordering::Release);
    }

    /// Names are answered from the first snapshot or a later one.
    /// True for the first time.
    pub(crate) fn dns_synced(&self) -> bool {
        !self.dns_synced.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn set_snapshot(&self, snapshot: Snapshot) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// What the DNS half counts, in the Prometheus text format.
    pub(crate) fn dns_metrics(&self) -> String {
        self.dns.get().map(|dns| dns.metrics.render()).unwrap_or_default()
    }

    /// What was asked for since the watching began, which goes on for a while.
    pub(crate) fn watch_dns(&self, most: usize) -> anyhow::Result<Watched> {
        let dns = self.dns.get().context("this agent does not answer names")?;
        Ok(dns.metrics.tap().read(most).into())
    }

    /// `ok`, or what is not synced yet.
    pub(crate) fn synced(&self) -> Result<String, String> {
        match (self.proxy_synced.load(Ordering::Acquire), self.dns_synced.load(Ordering::Acquire)) {
            (true, true) => Ok("ok\n".into()),
            (false, true) => Err("the service proxy is not synced\n".into()),
            (true, false) => Err("DNS is not synced\n".into()),
            (false, false) => Err("neither the service proxy nor DNS is synced\n".into()),
        }
    }

    /// The text of one stage.
    pub(crate) fn dump(&self, stage: &str) -> anyhow::Result<String> {
        let lines = match stage {
            "services" => {
                return Ok(self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).to_string());
            }
            "forwarding" => self.plane()?.lock().unwrap_or_else(PoisonError::into_inner).table.lines(),
            "nft" => dataplane::reconcile::dump()?,
            "conntrack" => super::proxy::tracked_connections()?,
            "dns" => {
                let dns = self.dns.get().context("this agent does not answer names")?;
                dns.with(|instance| instance.zone()).map(|zone| zone.dump()).unwrap_or_default()
            }
            other => {
                bail!("there is no stage {other:?}; there are services, forwarding, nft, conntrack, dns")
            }
        };
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }

    /// Which node this is, and what it answers itself.
    pub(crate) fn node(&self) -> NodeSelf {
        let zone = self.dns.get().and_then(|dns| dns.with(|instance| instance.zone()));
        let plane = self.plane.get().map(|plane| plane.lock().unwrap_or_else(PoisonError::into_inner));
        NodeSelf::of(plane.as_ref().map(|plane| plane.table.facts()), zone.as_deref())
    }

    /// What becomes of a packet here, and why.
    pub(crate) fn explain(&self, packet: &Packet) -> anyhow::Result<Delivery> {
        let plane = self.plane()?.lock().unwrap_or_else(PoisonError::into_inner);
        // Both are set under the plane's lock, so they belong together.
        let snapshot = self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Delivery::of(&plane.table, &snapshot, packet))
    }

    /// What the zone says to a name.
    pub(crate) fn resolve(&self, name: &str, kind: &str) -> anyhow::Result<NameAnswer> {
        let dns = self.dns.get().context("this agent does not answer names")?;
        let zone = dns.with(|instance| instance.zone()).context("this agent serves no cluster's names")?;
        NameAnswer::from_zone(&zone, name, kind)
    }

    /// What `/metrics` tells of the table and of what was written for it.
    pub(crate) fn plane_metrics(&self) -> metrics::Plane {
        let Some(plane) = self.plane.get() else { return metrics::Plane::default() };
        // Read before the lock is taken: no transaction waits for whoever asks.
        let connections = connections::read();
        plane.lock().unwrap_or_else(PoisonError::into_inner).metrics(&connections)
    }

    fn plane(&self) -> anyhow::Result<&Arc<Mutex<Plane>>> {
        self.plane.get().context("this agent does not run the service proxy")
    }
}
