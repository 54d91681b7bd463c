//! Cuts UDP flows to endpoints that a service port no longer has.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use services::Protocol;

use super::{Conntrack, Filter, Flow};
use crate::NetlinkError;
use crate::forwarding_table::{ForwardingTable, Frontend, FrontendKey};

/// Up to so many service ports are looked up by the kernel one by one; more by one dump of all UDP flows.
const SINGLE_DUMPS: usize = 4;
/// Flows found by one pass; more take further passes, in constant memory.
const PASS: usize = 4096;
/// Passes after which a sweep ends, whatever still comes.
const PASSES: usize = 2048;
/// A packet that was on its way when the rules changed has its flow by then.
const SETTLING: Duration = Duration::from_millis(20);
/// After a failed sweep.
const RETRY: Duration = Duration::from_secs(1);

/// Service ports with the endpoints that their flows may go to.
#[derive(Clone, Debug, Default)]
pub struct Sweep {
    targets: HashMap<FrontendKey, Arc<[SocketAddr]>>,
}

impl Sweep {
    /// The UDP ones among `keys`, with their endpoints as of now; a port that is gone has none.
    #[must_use]
    pub fn new(table: &ForwardingTable, keys: &[FrontendKey]) -> Self {
        let udp = keys.iter().filter(|key| key.protocol == Protocol::Udp);
        let endpoints = |key| table.frontend(key).into_iter().flat_map(Frontend::endpoints).collect();
        Self { targets: udp.map(|key| (*key, endpoints(key))).collect() }
    }

    /// True when there is nothing to look for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Takes over a later sweep's targets.
    pub fn merge(&mut self, later: Self) {
        self.targets.extend(later.targets);
    }

    fn is_stale(&self, flow: &Flow) -> bool {
        self.targets.get(&flow.frontend()).is_some_and(|endpoints| !endpoints.contains(&flow.reply.source))
    }
}

impl Conntrack {
    /// Deletes the flows of the sweep's service ports that lead elsewhere than to their endpoints. How many.
    ///
    /// # Errors
    /// When the kernel refuses; flows deleted until then stay deleted.
    pub fn sweep(&mut self, sweep: &Sweep) -> Result<usize, NetlinkError> {
        if sweep.targets.len() > SINGLE_DUMPS {
            return self.sweep_matching(sweep, &Filter::Protocol(Protocol::Udp));
        }
        let keys = sweep.targets.keys();
        keys.map(|key| self.sweep_matching(sweep, &Filter::Frontend(*key))).sum()
    }

    fn sweep_matching(&mut self, sweep: &Sweep, filter: &Filter) -> Result<usize, NetlinkError> {
        let mut deleted = 0;
        for _ in 0..PASSES {
            let mut stale = Vec::new();
            self.each(filter, |flow| {
                if stale.len() < PASS && sweep.is_stale(&flow) {
                    stale.push(flow);
                }
            })?;
            for flow in &stale {
                deleted += usize::from(self.delete(flow)?);
            }
            if stale.len() < PASS {
                break;
            }
        }
        Ok(deleted)
    }
}

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
            self.wake.notify_one();
        }
    }

    /// Ends [`Sweeper::run`] when it has done what waits.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    /// Sweeps what is pushed, until closed. Blocks the calling thread, in whose network namespace `conntrack` was
    /// opened. Failures are logged and tried again after a second.
    pub fn run(&self, conntrack: &mut Conntrack) {
        while let Some(sweep) = self.next() {
            match conntrack.sweep(&sweep) {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "cut UDP flows to endpoints that left"),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "UDP flows could not be cut");
                    self.put_back(sweep);
                }
            }
        }
    }

    /// Waits for something to do; `None` when closed and done.
    fn next(&self) -> Option<Sweep> {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        std::thread::sleep(SETTLING);
        Some(std::mem::take(&mut self.lock().waiting))
    }

    /// What failed is tried again later, unless newer targets are waiting or no later comes.
    fn put_back(&self, mut sweep: Sweep) {
        if !self.lock().closed {
            std::thread::sleep(RETRY);
            let mut state = self.lock();
            sweep.merge(std::mem::take(&mut state.waiting));
            state.waiting = sweep;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
