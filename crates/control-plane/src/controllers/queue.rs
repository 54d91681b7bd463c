//! The work queue: which object each controller has to look at, each at most once.
//!
//! A key that is woken while it is being worked on runs once more afterwards, never twice at the same time. A
//! failed key comes back after a delay that doubles from [`FIRST_DELAY`] to [`LONGEST_DELAY`]; after
//! [`MOST_FAILURES`] in a row it rests until something wakes it again. The queue's size is bounded by the
//! number of objects. It knows no clock: callers pass the time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::object::Target;

/// Delay after the first failure.
const FIRST_DELAY: Duration = Duration::from_millis(5);
/// No delay is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// After so many failures in a row (about a quarter of an hour) only an event wakes the key.
const MOST_FAILURES: u32 = 28;

/// One controller (by its number) and the object it has to look at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Work {
    pub(super) controller: usize,
    pub(super) target: Target,
}

/// The queue of all controllers.
#[derive(Debug, Default)]
pub(super) struct WorkQueue {
    ready: VecDeque<Work>,
    queued: HashSet<Work>,
    /// Work being done; true if it was woken meanwhile.
    running: HashMap<Work, bool>,
    /// Work that waits for a time, both ways round.
    waiting: BTreeSet<(Instant, Work)>,
    due: HashMap<Work, Instant>,
    failures: HashMap<Work, u32>,
}

impl WorkQueue {
    /// Wakes a key now.
    pub(super) fn add(&mut self, work: Work) {
        if let Some(again) = self.running.get_mut(&work) {
            *again = true;
        } else if self.queued.insert(work.clone()) {
            self.ready.push_back(work);
        }
    }

    /// Wakes a key at `due` at the latest; an earlier time that is already set stays.
    pub(super) fn add_at(&mut self, work: Work, due: Instant) {
        match self.due.get(&work) {
            Some(set) if *set <= due => return,
            Some(set) => {
                self.waiting.remove(&(*set, work.clone()));
            }
            None => {}
        }
        self.waiting.insert((due, work.clone()));
        self.due.insert(work, due);
    }

    /// When the next waiting key is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Moves what is due by `now` to the ready ones.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while self.waiting.first().is_some_and(|(due, _)| *due <= now) {
            let Some((_, work)) = self.waiting.pop_first() else { break };
            self.due.remove(&work);
            self.add(work);
        }
    }

    /// Takes the next key to work on; it counts as running until [`Self::finish`].
    pub(super) fn take(&mut self) -> Option<Work> {
        let work = self.ready.pop_front()?;
        self.queued.remove(&work);
        self.running.insert(work.clone(), false);
        Some(work)
    }

    /// The work on a key has ended.
    pub(super) fn finish(&mut self, work: &Work, succeeded: bool, now: Instant) {
        let woken = self.running.remove(work).unwrap_or(false);
        if succeeded {
            self.failures.remove(work);
        } else {
            self.back_off(work, now);
        }
        if woken {
            self.add(work.clone());
        }
    }

    fn back_off(&mut self, work: &Work, now: Instant) {
        let failures = self.failures.entry(work.clone()).or_insert(0);
        *failures += 1;
        if *failures > MOST_FAILURES {
            self.failures.remove(work);
            return;
        }
        let delay = FIRST_DELAY.saturating_mul(1 << (*failures - 1).min(16)).min(LONGEST_DELAY);
        self.add_at(work.clone(), now + delay);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::object::{Key, Kind};

    fn work(name: &str) -> Work {
        Work { controller: 0, target: Target { kind: Kind::Pod, key: Key::new("default", name) } }
    }

    #[test]
    fn a_key_is_queued_once_and_never_runs_twice_at_a_time() {
        let mut queue = WorkQueue::default();
        queue.add(work("a"));
        queue.add(work("a"));
        let running = queue.take().expect("one key");
        assert_eq!(queue.take(), None);
        queue.add(work("a"));
        assert_eq!(queue.take(), None, "it runs already");
        queue.finish(&running, true, Instant::now());
        assert_eq!(queue.take(), Some(work("a")), "it was woken meanwhile");
    }

    #[test]
    fn failures_double_the_delay_up_to_a_minute_and_then_rest() {
        let mut queue = WorkQueue::default();
        let start = Instant::now();
        let mut now = start;
        let mut delays = Vec::new();
        queue.add(work("a"));
        while let Some(running) = queue.take() {
            queue.finish(&running, false, now);
            let Some(due) = queue.next_due() else { break };
            delays.push(due - now);
            now = due;
            queue.wake_due(now);
        }
        assert_eq!(delays[..3], [5, 10, 20].map(Duration::from_millis));
        assert_eq!(delays.last(), Some(&LONGEST_DELAY));
        assert_eq!(delays.len(), MOST_FAILURES as usize);
    }

    #[test]
    fn of_two_times_the_earlier_counts() {
        let mut queue = WorkQueue::default();
        let now = Instant::now();
        queue.add_at(work("a"), now + Duration::from_secs(5));
        queue.add_at(work("a"), now + Duration::from_secs(1));
        queue.add_at(work("a"), now + Duration::from_secs(9));
        assert_eq!(queue.next_due(), Some(now + Duration::from_secs(1)));
        queue.wake_due(now + Duration::from_secs(1));
        assert_eq!(queue.take(), Some(work("a")));
        assert_eq!(queue.next_due(), None);
    }
}
