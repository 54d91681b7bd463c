//! Hands sweeps from the thread that syncs to one that sweeps.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::{Conntrack, Sweep, Swept};

/// A packet that was on its way when the rules changed has its flow by then.
const SETTLING: Duration = Duration::from_millis(20);
/// Under churn a sweep follows the one before after a rest of twice the processor time that it took, at most this: so
/// sweeping takes a third of a core unless they are longer, and a flow is cut at most 170 ms and the length of two sweeps
/// after the transaction. A sweep through 200,000 flows takes 57 ms of a core when few of them are stale, four times as
/// much when half of them are; through some hundreds, as most nodes have, well below one.
const REST: Duration = Duration::from_millis(150);
/// Pauses after a failed sweep.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Hands sweeps from the thread that syncs to one that sweeps. What waits is one entry for each service port.
#[derive(Debug, Default)]
pub struct Sweeper {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Sweep,
    closed: bool,
}

impl Sweeper {
    /// A sweeper with nothing to do. It does nothing until some thread calls [`Sweeper::run`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a sync reported ([`crate::reconcile::Synced::stale`]). Never blocks for long.
    pub fn push(&self, sweep: Sweep) {
        if !sweep.is_empty() {
            self.lock().waiting.merge(sweep);
            self.wake.notify_all();
        }
    }

    /// Ends [`Sweeper::run`] when it has done what waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// Sweeps what is pushed, until closed. Blocks the calling thread, in whose network namespace `conntrack` was
    /// opened. Failures are logged and tried again after at most a second; once closed, no more.
    pub fn run(&self, conntrack: &mut Conntrack) {
        self.run_and_tell(conntrack, |_, _| ());
    }

    /// The same, and tells of each sweep that ended well, and how long it took.
    pub fn run_and_tell(&self, conntrack: &mut Conntrack, mut tell: impl FnMut(&Swept, Duration)) {
        let mut rest = Duration::ZERO;
        let mut retry = RETRY.0;
        while let Some(sweep) = self.next(rest) {
            let (start, worked) = (Instant::now(), processor_time());
            match conntrack.sweep(&sweep) {
                Ok(swept) => {
                    let took = start.elapsed();
                    log(&swept, took);
                    tell(&swept, took);
                    rest = (processor_time().saturating_sub(worked) * 2).min(REST);
                    retry = RETRY.0;
                }
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "UDP flows could not be cut");
                    rest = retry;
                    retry = (retry * 2).min(RETRY.1);
                    self.put_back(sweep);
                }
            }
        }
    }

    /// Rests, waits for something to do and until packets on their way have settled; `None` when closed and done.
    fn next(&self, rest: Duration) -> Option<Sweep> {
        let state = self.lock();
        let rested = self.wake.wait_timeout_while(state, rest, |state| !state.closed);
        let (state, _) = rested.unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut State| state.waiting.is_empty() && !state.closed;
        let state = self.wake.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner);
        if state.waiting.is_empty() {
            return None;
        }
        drop(state);
        std::thread::sleep(SETTLING);
        Some(std::mem::take(&mut self.lock().waiting))
    }

    /// What failed is tried again, unless newer targets are waiting or no later comes.
    fn put_back(&self, mut sweep: Sweep) {
        let mut state = self.lock();
        if !state.closed {
            sweep.merge(std::mem::take(&mut state.waiting));
            state.waiting = sweep;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the calling thread has had of a core: what else the machine does makes a sweep longer, but no dearer.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Duration::ZERO };
    let microseconds = (usage.user_time() + usage.system_time()).num_microseconds();
    Duration::from_micros(u64::try_from(microseconds).unwrap_or(0))
}

fn log(swept: &Swept, duration: Duration) {
    if swept.deleted > 0 {
        tracing::info!(count = swept.deleted, ?duration, "cut UDP flows to endpoints that left");
    }
    tracing::debug!(?swept, ?duration, "swept connection tracking");
}
