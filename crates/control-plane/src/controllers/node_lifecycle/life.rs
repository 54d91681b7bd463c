//! How long nodes have been silent, on the clock that stands still while the machine sleeps.
//!
//! A node's renewals are told by its own wall clock, which jumps; so what counts is when a renewal was
//! *seen*. Only for what was there when the controllers started does the wall clock decide.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{LEASE_NAMESPACE, ready};
use crate::controllers::cluster::Change;
use crate::controllers::engine::Now;
use crate::controllers::object::Object;

/// When each node last showed itself.
#[derive(Debug, Default)]
pub(crate) struct NodeLife(HashMap<String, Instant>);

impl NodeLife {
    /// Takes up a change of a Node or of its Lease.
    pub(crate) fn observe(&mut self, change: &Change, now: Now) {
        if let (Some(Object::Node(old)), None) = (&change.old, &change.new) {
            self.0.remove(old.metadata.name.as_deref().unwrap_or_default());
            return;
        }
        let Some((name, renewed)) = change.new.as_ref().and_then(renewal) else { return };
        let before = change.old.as_ref().and_then(renewal);
        let seen = match before {
            Some((_, before)) if before >= renewed => return,
            Some(_) => now.steady,
            None => {
                let silence = Duration::try_from(now.wall.duration_since(renewed)).unwrap_or_default();
                now.steady.checked_sub(silence).unwrap_or(now.steady)
            }
        };
        let held = self.0.entry(name.to_owned()).or_insert(seen);
        *held = seen.max(*held);
    }

    /// For how long nothing was seen of a node.
    pub(super) fn silence(&self, node: &str, now: Now) -> Duration {
        self.0.get(node).map_or(Duration::ZERO, |seen| now.steady.saturating_duration_since(*seen))
    }
}

/// The node that an object tells of, and when it last renewed what the object shows.
fn renewal(object: &Object) -> Option<(&str, Timestamp)> {
    match object {
        Object::Node(node) => {
            let heartbeat = ready(node).and_then(|ready| ready.last_heartbeat_time.as_ref());
            let time = heartbeat.or(node.metadata.creation_timestamp.as_ref())?.0;
            Some((node.metadata.name.as_deref()?, time))
        }
        Object::Lease(lease) if lease.metadata.namespace.as_deref() == Some(LEASE_NAMESPACE) => {
            Some((lease.metadata.name.as_deref()?, lease.spec.as_ref()?.renew_time.as_ref()?.0))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controllers::fixtures::{lease, now, seen_at};

    fn later(seconds: i64) -> Now {
        let step = Duration::from_secs(seconds.unsigned_abs());
        Now { wall: now().wall + jiff::SignedDuration::from_secs(seconds), steady: now().steady + step }
    }

    fn first(object: Object) -> Change {
        Change { old: None, new: Some(object) }
    }

    #[test]
    fn what_was_there_before_us_is_judged_by_the_wall_clock() {
        let mut life = NodeLife::default();
        life.observe(&first(seen_at(100)), now());
        assert_eq!(life.silence("n1", now()), Duration::from_secs(900));
        life.observe(&first(lease(950)), now());
        assert_eq!(life.silence("n1", now()), Duration::from_secs(50));
        life.observe(&first(lease(940)), now());
        assert_eq!(life.silence("n1", now()), Duration::from_secs(50), "the latest counts");
    }

    #[test]
    fn what_is_renewed_is_judged_by_when_we_saw_it() {
        let mut life = NodeLife::default();
        life.observe(&first(lease(995)), now());
        let renewed = |from, to| Change { old: Some(lease(from)), new: Some(lease(to)) };
        // The machine slept for an hour: the wall clock jumped, the steady one did not.
        let awake = Now { wall: now().wall + jiff::SignedDuration::from_hours(1), steady: later(2).steady };
        assert_eq!(life.silence("n1", awake), Duration::from_secs(7));
        life.observe(&renewed(995, 996), later(3));
        assert_eq!(life.silence("n1", later(3)), Duration::ZERO);
        life.observe(&renewed(996, 996), later(9));
        assert_eq!(life.silence("n1", later(9)), Duration::from_secs(6), "an equal lease is no renewal");
    }

    #[test]
    fn a_removed_node_is_forgotten() {
        let mut life = NodeLife::default();
        life.observe(&first(seen_at(100)), now());
        life.observe(&Change { old: Some(seen_at(100)), new: None }, now());
        assert_eq!(life.silence("n1", now()), Duration::ZERO);
    }
}
