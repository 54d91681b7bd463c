//! The recent changes, for watches to continue from.
//!
//! Bounded by count and by bytes: what falls out makes a watch from before it fail with 410 Expired, and its client lists
//! anew. A watcher has no queue of its own; it reads from here at its own pace.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Key, Stored};

/// Most changes that are kept.
const MAX_EVENTS: usize = 16_384;
/// Most bytes of objects that are kept for them. (An object that is still current costs nothing extra, so the true cost
/// is lower.)
const MAX_BYTES: usize = 8 << 20;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) revision: u64,
    pub(crate) key: Key,
    pub(crate) change: Change,
    /// The object after the change, or as it was last.
    pub(crate) object: Arc<Stored>,
    /// The object before the change; a selector may have matched only that.
    pub(crate) previous: Option<Arc<Stored>>,
}

/// The changes after a revision are not all held any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooOld {
    /// The first revision from which a watch can continue.
    pub(crate) oldest: u64,
}

/// The recent changes, oldest first.
#[derive(Debug)]
pub(super) struct Window {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Every change after this revision is held.
    start: u64,
}

impl Window {
    /// Holds nothing yet; watches may continue from `revision`.
    pub(super) fn starting_at(revision: u64) -> Self {
        Self { events: VecDeque::new(), bytes: 0, start: revision }
    }

    pub(super) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.object.json.len();
        self.events.push_back(event);
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(dropped) = self.events.pop_front() else { break };
            self.bytes -= dropped.object.json.len();
            self.start = dropped.revision;
        }
    }

    /// The changes after `revision` to keys that start with `prefix`.
    pub(super) fn after(&self, revision: u64, prefix: &str) -> Result<Vec<Arc<Event>>, TooOld> {
        if revision < self.start {
            return Err(TooOld { oldest: self.start });
        }
        let first = self.events.partition_point(|event| event.revision <= revision);
        let matching = self.events.range(first..).filter(|event| event.key.as_str().starts_with(prefix));
        Ok(matching.cloned().collect())
    }
}
