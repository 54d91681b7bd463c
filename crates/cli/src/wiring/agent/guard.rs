//! Repairs our tables when another program has changed them, at once, where the kernel (before 6.9) lets others do that.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use dataplane::conntrack::{Sweep, Sweeper};
use dataplane::reconcile::Monitor;
use tracing::{error, warn};

use super::proxy::Plane;

/// A repair that failed is tried again after this, so many times; then the next sync does it.
const RETRY: Duration = Duration::from_secs(1);
const ATTEMPTS: u32 = 10;

/// Starts the thread that waits for edits. It ends when the monitor is closed.
pub(crate) fn start(
    mut monitor: Monitor,
    plane: Arc<Mutex<Plane>>,
    sweeper: Arc<Sweeper>,
) -> anyhow::Result<()> {
    let thread = std::thread::Builder::new().name("guard".into()).stack_size(512 * 1024);
    let work = move || {
        loop {
            match monitor.wait() {
                Ok(Some(edit)) => {
                    warn!("{edit}; repairing it");
                    repair(&plane, &sweeper);
                }
                Ok(None) => return,
                Err(broken) => {
                    let broken = anyhow::Error::from(broken);
                    return error!("{broken:#}: they are repaired with the next change only");
                }
            }
        }
    };
    thread.spawn(work).map(drop).context("starting the guard's thread")
}

fn repair(plane: &Mutex<Plane>, sweeper: &Sweeper) {
    for _ in 0..ATTEMPTS {
        let mut plane = plane.lock().unwrap_or_else(PoisonError::into_inner);
        // The reconciler has told why it failed.
        if let Ok(synced) = plane.repair() {
            return sweeper.push(Sweep::new(&plane.table, &synced.stale));
        }
        drop(plane);
        std::thread::sleep(RETRY);
    }
}
