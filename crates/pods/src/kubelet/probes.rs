//! Startup, readiness and liveness probes of one container, each on its own clock.
//!
//! Probes run from the node's own namespace, as the kubelet's do. HTTPS and gRPC probes are refused: they count as
//! failed, with a message that says so.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::events::Kind;
use super::pod::PodContext;

mod action;

/// The outcome of one probe: the message says why it failed.
pub(crate) type Outcome = Result<(), String>;

/// A probe with its defaults filled in (the API fills them too; a pod may come from elsewhere).
struct Plan<'a> {
    probe: &'a Probe,
    what: &'static str,
    period: Duration,
    timeout: Duration,
    failures: i32,
    successes: i32,
}

impl<'a> Plan<'a> {
    fn new(probe: &'a Probe, what: &'static str) -> Self {
        let seconds = |value: Option<i32>, default: i32| {
            Duration::from_secs(value.unwrap_or(default).max(1).unsigned_abs().into())
        };
        Self {
            probe,
            what,
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            failures: probe.failure_threshold.unwrap_or(3).max(1),
            successes: probe.success_threshold.unwrap_or(1).max(1),
        }
    }

    fn initial_delay(&self) -> Duration {
        Duration::from_secs(self.probe.initial_delay_seconds.unwrap_or(0).max(0).unsigned_abs().into())
    }
}

/// Counts outcomes in a row against the thresholds.
#[derive(Debug, Default)]
struct Tally {
    last: Option<bool>,
    run: i32,
}

impl Tally {
    /// `Some` with the verdict once enough outcomes agree.
    fn count(&mut self, good: bool, successes: i32, failures: i32) -> Option<bool> {
        self.run = if self.last == Some(good) { self.run.saturating_add(1) } else { 1 };
        self.last = Some(good);
        (self.run >= if good { successes } else { failures }).then_some(good)
    }
}

/// A container to probe.
pub(crate) struct Target {
    pub(crate) context: Arc<PodContext>,
    pub(crate) index: usize,
    pub(crate) container: Arc<Container>,
}

/// A container that must be restarted, and how long it may take to end.
pub(crate) struct Unhealthy {
    /// `liveness` or `startup`.
    pub(crate) what: &'static str,
    /// The probe's own grace period, seconds.
    pub(crate) grace: Option<i64>,
}

/// Probes until dropped. A container without startup probe is started, one without readiness probe is ready.
pub(crate) async fn run(target: Target, unhealthy: mpsc::Sender<Unhealthy>) {
    let container = Arc::clone(&target.container);
    if let Some(probe) = &container.startup_probe {
        let plan = Plan::new(probe, "Startup");
        if !target.await_startup(&plan).await {
            unhealthy
                .send(Unhealthy { what: "startup", grace: probe.termination_grace_period_seconds })
                .await
                .ok();
            return;
        }
    }
    let ready = container.readiness_probe.is_none();
    target.context.records.update(target.index, |record| {
        record.started = true;
        record.ready = ready;
    });
    let readiness = async {
        if let Some(probe) = &container.readiness_probe {
            target.watch_readiness(&Plan::new(probe, "Readiness")).await;
        }
    };
    let liveness = async {
        if let Some(probe) = &container.liveness_probe {
            target.await_death(&Plan::new(probe, "Liveness")).await;
            let grace = probe.termination_grace_period_seconds;
            unhealthy.send(Unhealthy { what: "liveness", grace }).await.ok();
        }
    };
    tokio::join!(readiness, liveness);
}

impl Target {
    /// True once it has started, false once it has failed too often.
    async fn await_startup(&self, plan: &Plan<'_>) -> bool {
        let mut tally = Tally::default();
        let mut clock = clock(plan).await;
        loop {
            clock.tick().await;
            let outcome = self.probe(plan).await;
            if let Some(verdict) = tally.count(outcome, plan.successes, plan.failures) {
                return verdict;
            }
        }
    }

    async fn watch_readiness(&self, plan: &Plan<'_>) {
        let mut tally = Tally::default();
        let mut clock = clock(plan).await;
        loop {
            clock.tick().await;
            let outcome = self.probe(plan).await;
            if let Some(ready) = tally.count(outcome, plan.successes, plan.failures) {
                let changed = self.context.records.read(self.index, |record| record.ready != ready);
                if changed {
                    self.context.records.update(self.index, |record| record.ready = ready);
                }
            }
        }
    }

    async fn await_death(&self, plan: &Plan<'_>) {
        let mut tally = Tally::default();
        let mut clock = clock(plan).await;
        loop {
            clock.tick().await;
            let outcome = self.probe(plan).await;
            if tally.count(outcome, plan.successes, plan.failures) == Some(false) {
                return;
            }
        }
    }

    /// Probes once; a failure becomes an event.
    async fn probe(&self, plan: &Plan<'_>) -> bool {
        let outcome = action::run(self, plan.probe, plan.timeout).await;
        if let Err(message) = &outcome {
            let message = format!("{} probe failed: {message}", plan.what);
            self.context.event(Some(&self.container.name), Kind::Warning, "Unhealthy", message);
        }
        outcome.is_ok()
    }

    fn address(&self) -> Ipv4Addr {
        self.context.address
    }
}

/// Ticks at once, then each period. A tick that was missed is not made up for.
async fn clock(plan: &Plan<'_>) -> tokio::time::Interval {
    let mut clock = tokio::time::interval_at(Instant::now() + plan.initial_delay(), plan.period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn verdicts_need_outcomes_in_a_row() {
        let mut tally = Tally::default();
        let outcomes = [false, false, true, false, false, false, false, true, true];
        let verdicts: Vec<_> = outcomes.into_iter().map(|good| tally.count(good, 2, 3)).collect();
        let fails = Some(false);
        assert_eq!(verdicts, [None, None, None, None, None, fails, fails, None, Some(true)]);
    }
}
