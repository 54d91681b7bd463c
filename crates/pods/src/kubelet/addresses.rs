//! Addresses of a node's pods: from `.2` of its subnet up, the one longest unused first.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use ipnet::Ipv4Net;

/// Hands out each address once; a lease gives its address back when dropped.
///
/// The search goes on from the last address given, so that one that was just freed (and may still stand in
/// somebody's connection table) comes last.
#[derive(Debug)]
pub(crate) struct Addresses {
    first: u32,
    last: u32,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    taken: BTreeSet<u32>,
    next: u32,
}

/// An address in use.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) address: Ipv4Addr,
    from: Arc<Addresses>,
}

impl Addresses {
    pub(crate) fn new(subnet: Ipv4Net) -> Arc<Self> {
        let first = u32::from(subnet.network()) + 2;
        let last = u32::from(subnet.broadcast()).saturating_sub(1);
        Arc::new(Self { first, last, inner: Mutex::new(Inner { taken: BTreeSet::new(), next: first }) })
    }

    /// The next free address, or none if all are in use.
    pub(crate) fn lease(self: &Arc<Self>) -> Option<Lease> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let start = inner.next;
        let free =
            (start..=self.last).chain(self.first..start).find(|number| !inner.taken.contains(number))?;
        inner.taken.insert(free);
        inner.next = if free >= self.last { self.first } else { free + 1 };
        Some(Lease { address: free.into(), from: Arc::clone(self) })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut inner = self.from.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.taken.remove(&self.address.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_once_and_the_freed_one_last() {
        let addresses = Addresses::new("10.244.1.0/29".parse().expect("subnet"));
        let mut leases: Vec<_> = std::iter::from_fn(|| addresses.lease()).collect();
        let last: Vec<_> = leases.iter().map(|lease| lease.address.octets()[3]).collect();
        assert_eq!(last, [2, 3, 4, 5, 6]);
        leases.remove(3);
        leases.remove(1);
        let again: Vec<_> = (0..2).map(|_| addresses.lease().expect("free")).collect();
        assert_eq!(again.iter().map(|lease| lease.address.octets()[3]).collect::<Vec<_>>(), [3, 5]);
        assert!(addresses.lease().is_none());
    }
}
