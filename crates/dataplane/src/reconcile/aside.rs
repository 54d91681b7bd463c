//! What the kernel refuses: kept apart so that it blocks nothing else, and tried again with growing pauses.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use services::ServiceName;

use crate::NetlinkError;
use crate::forwarding_table::{ForwardingTable, FrontendKey, Kind, TableChanges};

/// First and longest pause before one is tried again. A refused transaction leaves some kernels slow (they validate the
/// whole table with the next ones, until 6.18): so they are rare.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// The smallest that can be programmed, or set aside, without anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// All elements of a frontend.
    Frontend(FrontendKey),
    /// A virtual IP among those whose undefined ports are refused.
    Address(IpAddr),
    /// An endpoint among those of this node that may reach themselves.
    Hairpin(IpAddr),
}

impl Part {
    /// The changes that touch this and nothing else.
    pub(super) fn touch(self, changes: &mut TableChanges) {
        match self {
            Self::Frontend(key) => _ = changes.frontends.insert(key),
            Self::Address(address) => _ = changes.addresses.insert(address),
            Self::Hairpin(address) => _ = changes.hairpins.insert(address),
        }
    }

    fn is_touched(self, changes: &TableChanges) -> bool {
        match self {
            Self::Frontend(key) => changes.frontends.contains(&key),
            Self::Address(address) => changes.addresses.contains(&address),
            Self::Hairpin(address) => changes.hairpins.contains(&address),
        }
    }

    /// A Service because of which it is wanted.
    fn service(self, table: &ForwardingTable) -> Option<ServiceName> {
        let frontend = match self {
            Self::Frontend(key) => table.frontend(&key),
            Self::Address(address) => {
                let mut of_address = table.frontends().filter(|(key, _)| key.address == address);
                of_address
                    .find(|(_, frontend)| frontend.kind == Kind::ClusterIp)
                    .map(|(_, frontend)| frontend)
            }
            Self::Hairpin(address) => {
                let mut frontends = table.frontends().map(|(_, frontend)| frontend);
                frontends.find(|frontend| frontend.local.contains(&address))
            }
        };
        frontend.map(|frontend| frontend.service.clone())
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frontend(key) => key.fmt(f),
            Self::Address(address) => write!(f, "the address {address}"),
            Self::Hairpin(address) => write!(f, "the endpoint {address}"),
        }
    }
}

/// What the kernel refuses. It keeps what the kernel held for it before, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unprogrammed {
    /// What it is.
    pub part: Part,
    /// Its Service; `None` when that is gone, and the removal is what is refused.
    pub service: Option<ServiceName>,
    /// What the kernel said.
    pub reason: String,
    /// How often it was tried.
    pub attempts: u32,
}

impl fmt::Display for Unprogrammed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.part)?;
        if let Some(service) = &self.service {
            write!(f, " of {service}")?;
        }
        write!(f, " cannot be programmed: {}", self.reason)
    }
}

/// Those of one family.
#[derive(Debug, Default)]
pub(super) struct Aside {
    refused: BTreeMap<Part, Refusal>,
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

    pub(super) fn contains(&self, part: Part) -> bool {
        self.refused.contains_key(&part)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Unprogrammed> {
        self.refused.values().map(|refusal| &refusal.unprogrammed)
    }

    /// When the next is to be tried again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.refused.values().map(|refusal| refusal.retry).min()
    }

    /// Sets a part aside, or notes that it was refused again.
    pub(super) fn put(&mut self, part: Part, table: &ForwardingTable, cause: &NetlinkError, now: Instant) {
        let attempts = self.refused.get(&part).map_or(0, |known| known.unprogrammed.attempts) + 1;
        let unprogrammed =
            Unprogrammed { part, service: part.service(table), reason: reason(cause), attempts };
        let doublings = (attempts - 1).min(16);
        let pause = (RETRY.0 * (1 << doublings)).min(RETRY.1);
        tracing::warn!(retry = ?pause, "{unprogrammed}");
        self.refused.insert(part, Refusal { unprogrammed, tried: now, retry: now + pause });
    }

    /// The kernel has taken these.
    pub(super) fn remove(&mut self, parts: &[Part]) {
        for part in parts {
            if let Some(refusal) = self.refused.remove(part) {
                tracing::info!(attempts = refusal.unprogrammed.attempts, "{part} is programmed now");
            }
        }
    }

    /// Those whose pause is over; of those that changed, the shortest pause counts.
    pub(super) fn due(&mut self, changed: &TableChanges, now: Instant) -> Vec<Part> {
        for (part, refusal) in &mut self.refused {
            if part.is_touched(changed) {
                refusal.retry = refusal.retry.min(refusal.tried + RETRY.0);
            }
        }
        let due = self.refused.iter().filter(|(_, refusal)| refusal.retry <= now);
        due.map(|(part, _)| *part).collect()
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
        let key = Part::Frontend(FrontendKey::new(Protocol::Udp, "10.96.1.1".parse().unwrap(), 53));
        let (nothing, mut touched) = (TableChanges::default(), TableChanges::default());
        key.touch(&mut touched);
        let table = ForwardingTable::default();
        let (mut aside, start) = (Aside::default(), Instant::now());
        let refused = || NetlinkError::refused("an element", libc::EINVAL);
        let seconds = |count| start + Duration::from_secs(count);
        for _ in 0..4 {
            aside.put(key, &table, &refused(), start);
        }
        assert_eq!(aside.next_retry(), Some(seconds(8)));
        assert_eq!(aside.due(&nothing, seconds(7)), []);
        assert_eq!(aside.due(&nothing, seconds(8)), [key]);
        assert_eq!(aside.due(&touched, start), [], "it was tried just now");
        assert_eq!(aside.due(&nothing, seconds(1)), [key]);
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
