//! Frontends that the kernel refuses: kept apart so that they block no others, and tried again with growing pauses.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::fmt;
use std::time::{Duration, Instant};

use services::ServiceName;

use crate::NetlinkError;
use crate::forwarding_table::{ForwardingTable, FrontendKey};

/// First and longest pause before one is tried again. A refused transaction leaves some kernels slow (they validate the
/// whole table with the next ones, until 6.18): so they are rare.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// A frontend that the kernel refuses. It keeps what the kernel held for it before, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprogrammed {
    /// Its address, port and protocol.
    pub key: FrontendKey,
    /// Its Service; `None` when that is gone, and the removal is what is refused.
    pub service: Option<ServiceName>,
    /// What the kernel said.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl fmt::Display for Unprogrammed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(service) = &self.service {
            write!(f, " of {service}")?;
        }
        write!(f, " cannot be programmed: {}", self.reason)
    }
}

/// Those of one family.
#[derive(Debug, Default)]
pub(super) struct Aside {
    refused: BTreeMap<FrontendKey, Refusal>,
}

#[derive(Debug)]
struct Refusal {
    unprogrammed: Unprogrammed,
    tried: Instant,
    retry: Instant,
}

impl Aside {
    pub(super) fn is_empty(&self) -> bool {
        self.refused.is_empty()
    }

    pub(super) fn contains(&self, key: &FrontendKey) -> bool {
        self.refused.contains_key(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unprogrammed> {
        self.refused.values().map(|refusal| &refusal.unprogrammed)
    }

    /// When the next is to be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.refused.values().map(|refusal| refusal.retry).min()
    }

    /// Sets a frontend aside, or notes that it was refused again.
    pub(super) fn put(
        &mut self,
        key: FrontendKey,
        table: &ForwardingTable,
        cause: &NetlinkError,
        now: Instant,
    ) {
        let attempts = self.refused.get(&key).map_or(0, |known| known.unprogrammed.attempts) + 1;
        let service = table.frontend(&key).map(|frontend| frontend.service.clone());
        let unprogrammed = Unprogrammed { key, service, reason: reason(cause), attempts };
        let doublings = (attempts - 1).min(16);
        let pause = (RETRY.0 * (1 << doublings)).min(RETRY.1);
        tracing::warn!(retry = ?pause, "{unprogrammed}");
        self.refused.insert(key, Refusal { unprogrammed, tried: now, retry: now + pause });
    }

    /// The kernel has taken these.
    pub(super) fn remove(&mut self, keys: &[FrontendKey]) {
        for key in keys {
            if let Some(refusal) = self.refused.remove(key) {
                tracing::info!(attempts = refusal.unprogrammed.attempts, "{key} is programmed now");
            }
        }
    }

    /// Those whose pause is over; of those that changed, the shortest pause counts.
    pub(super) fn due(&mut self, changed: &BTreeSet<FrontendKey>, now: Instant) -> Vec<FrontendKey> {
        for (key, refusal) in &mut self.refused {
            if changed.contains(key) {
                refusal.retry = refusal.retry.min(refusal.tried + RETRY.0);
            }
        }
        let due = self.refused.iter().filter(|(_, refusal)| refusal.retry <= now);
        due.map(|(key, _)| *key).collect()
    }
}

fn reason(cause: &NetlinkError) -> String {
    cause.source().map_or_else(|| cause.to_string(), |source| format!("{cause}: {source}"))
}

#[cfg(test)]
mod tests {
    use services::Protocol;

    use super::*;

    #[test]
    fn pauses_grow_and_a_change_shortens_them() {
        let key = FrontendKey::new(Protocol::Udp, "10.96.1.1".parse().unwrap(), 53);
        let table = ForwardingTable::default();
        let (mut aside, start) = (Aside::default(), Instant::now());
        let refused = || NetlinkError::refused("an element", libc::EINVAL);
        let seconds = |count| start + Duration::from_secs(count);
        for _ in 0..4 {
            aside.put(key, &table, &refused(), start);
        }
        assert_eq!(aside.next_retry(), Some(seconds(8)));
        assert_eq!(aside.due(&BTreeSet::new(), seconds(7)), []);
        assert_eq!(aside.due(&BTreeSet::new(), seconds(8)), [key]);
        assert_eq!(aside.due(&BTreeSet::from([key]), start), [], "it was tried just now");
        assert_eq!(aside.due(&BTreeSet::new(), seconds(1)), [key]);
        for _ in 0..40 {
            aside.put(key, &table, &refused(), start);
        }
        assert_eq!(aside.next_retry(), Some(start + RETRY.1));
        let shown = aside.iter().next().unwrap().to_string();
        assert!(
            shown.starts_with(
                "udp 10.96.1.1:53 cannot be programmed: netlink: the kernel refused an element: "
            ),
            "{shown}"
        );
        aside.remove(&[key]);
        assert!(aside.is_empty());
    }
}
