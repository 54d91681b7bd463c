//! Hand-over of snapshots from the feed to a consumer's thread. A consumer that is slow finds one update with all that
//! changed meanwhile, never a queue: memory is bounded by the number of keys.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use services::{Changes, Snapshot};

use super::node_facts::Surroundings;
use super::observed::Trigger;

/// A snapshot and what changed since the one that the consumer took before.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) snapshot: Snapshot,
    pub(crate) changes: Changes,
    /// What surrounds the node, if that changed.
    pub(crate) around: Option<Arc<Surroundings>>,
    /// When the changes happened, for those that tell; [`TRIGGERS_MAX`] at most.
    pub(crate) triggers: Vec<Trigger>,
}

/// Times that one update holds at most; more changes at once are not measured.
pub(crate) const TRIGGERS_MAX: usize = 10_000;

/// Holds at most one update.
#[derive(Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    update: Option<Update>,
    closed: bool,
}

/// What a consumer finds.
#[allow(clippy::large_enum_variant, reason = "one exists at a time, on the consumer's stack")]
pub(crate) enum Taken {
    /// Work.
    Update(Update),
    /// Nothing new within the time.
    Timeout,
    /// The program is stopping.
    Closed,
}

impl Slot {
    /// Leaves an update; merges it with one that was not taken yet.
    pub(crate) fn put(&self, update: Update) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut state.update {
            None => state.update = Some(update),
            Some(waiting) => {
                waiting.snapshot = update.snapshot;
                waiting.changes.services.extend(update.changes.services);
                waiting.changes.nodes.extend(update.changes.nodes);
                waiting.changes.namespaces.extend(update.changes.namespaces);
                waiting.around = update.around.or_else(|| waiting.around.take());
                let room = TRIGGERS_MAX.saturating_sub(waiting.triggers.len());
                waiting.triggers.extend(update.triggers.into_iter().take(room));
            }
        }
        self.filled.notify_one();
    }

    /// Wakes the consumer for the last time.
    pub(crate) fn close(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.filled.notify_one();
    }

    /// Waits for an update, at most `patience` (forever with `None`).
    pub(crate) fn take(&self, patience: Option<Duration>) -> Taken {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(update) = state.update.take() {
                return Taken::Update(update);
            }
            if state.closed {
                return Taken::Closed;
            }
            let Some(patience) = patience else {
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let (woken, timeout) =
                self.filled.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() && state.update.is_none() && !state.closed {
                return Taken::Timeout;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use services::Model;

    fn update(namespace: &str) -> Update {
        let mut model = Model::new();
        model.apply_namespace(namespace);
        let (snapshot, changes) = (model.snapshot(), model.take_changes());
        Update { snapshot, changes, around: None, triggers: Vec::new() }
    }

    #[test]
    fn a_slow_consumer_finds_one_update_with_all_changes() {
        let slot = Slot::default();
        slot.put(update("a"));
        slot.put(update("b"));
        let Taken::Update(taken) = slot.take(None) else { panic!("an update was left") };
        assert_eq!(taken.changes.namespaces.len(), 2);
        assert!(taken.snapshot.namespaces.contains("b"));
        assert!(matches!(slot.take(Some(Duration::from_millis(1))), Taken::Timeout));
        slot.close();
        assert!(matches!(slot.take(None), Taken::Closed));
    }
}
