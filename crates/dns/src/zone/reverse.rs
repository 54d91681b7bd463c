//! From an address to the Services that have it: virtual IPs and endpoints.
//!
//! Addresses are kept in buckets that share all but the last byte, ordered, so that a change copies one small bucket and
//! a prefix (an empty non-terminal of a reverse zone) is a range query. An entry holds the Service's key, not its
//! records: those may change without their addresses changing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::{Reversed, ServiceKey, ServiceRecords};
use crate::message::QueryName;

/// An address without its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Prefix {
    v6: bool,
    high: u128,
}

/// One use of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    last: u8,
    /// False for a virtual IP: those sort first and win.
    endpoint: bool,
    key: ServiceKey,
}

/// All addresses of the zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reverse(RedBlackTreeMapSync<Prefix, Arc<[Entry]>>);

/// What a name of a reverse zone spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReverseName {
    /// One address.
    Address(IpAddr),
    /// The addresses between two, when only the upper part is spelled.
    Range(IpAddr, IpAddr),
}

fn split(address: IpAddr) -> (Prefix, u8) {
    match address {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            (Prefix { v6: false, high: u128::from(bits >> 8) }, bits as u8)
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (Prefix { v6: true, high: bits >> 8 }, bits as u8)
        }
    }
}

impl Reverse {
    /// Exchanges the addresses of one Service. Each bucket is copied once, however many of its addresses change.
    pub(super) fn replace(
        &mut self,
        key: &ServiceKey,
        old: Option<&ServiceRecords>,
        new: Option<&ServiceRecords>,
    ) {
        let (old, new) = (addresses(old), addresses(new));
        let gone = old.iter().filter(|use_| new.binary_search(use_).is_err()).map(|use_| (use_, false));
        let come = new.iter().filter(|use_| old.binary_search(use_).is_err()).map(|use_| (use_, true));
        let mut edits: Vec<_> = gone
            .chain(come)
            .map(|(&(address, endpoint), present)| {
                let (prefix, last) = split(address);
                (prefix, last, endpoint, present)
            })
            .collect();
        edits.sort_unstable();
        for edits in edits.chunk_by(|one, other| one.0 == other.0) {
            self.edit_bucket(key, edits[0].0, edits);
        }
    }

    fn edit_bucket(&mut self, key: &ServiceKey, prefix: Prefix, edits: &[(Prefix, u8, bool, bool)]) {
        let old = self.0.get(&prefix).map_or(&[][..], |bucket| &bucket[..]);
        let mut bucket = Vec::with_capacity(old.len() + edits.len());
        bucket.extend_from_slice(old);
        for &(_, last, endpoint, present) in edits {
            let entry = Entry { last, endpoint, key: key.clone() };
            match (bucket.binary_search(&entry), present) {
                (Err(at), true) => bucket.insert(at, entry),
                (Ok(at), false) => drop(bucket.remove(at)),
                _ => {}
            }
        }
        if bucket.is_empty() {
            self.0.remove_mut(&prefix);
        } else {
            self.0.insert_mut(prefix, bucket.into());
        }
    }

    /// The Services that have this address: `(is an endpoint, key)`, virtual IPs first.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = (bool, &ServiceKey)> {
        let (prefix, last) = split(address);
        let bucket = self.0.get(&prefix).map_or(&[][..], |bucket| &bucket[..]);
        let start = bucket.partition_point(|entry| entry.last < last);
        let found = bucket[start..].iter().take_while(move |entry| entry.last == last);
        found.map(|entry| (entry.endpoint, &entry.key))
    }

    /// True when some address between the two is known.
    pub(crate) fn any_between(&self, range: RangeInclusive<IpAddr>) -> bool {
        let ((first, first_last), (end, end_last)) = (split(*range.start()), split(*range.end()));
        self.0.range(first..=end).any(|(prefix, bucket)| {
            let above = |entry: &Entry| *prefix > first || entry.last >= first_last;
            let below = |entry: &Entry| *prefix < end || entry.last <= end_last;
            bucket.iter().any(|entry| above(entry) && below(entry))
        })
    }
}

/// Sorted uses of addresses by one Service.
fn addresses(records: Option<&ServiceRecords>) -> Vec<(IpAddr, bool)> {
    let Some(records) = records else { return Vec::new() };
    let endpoints = records.endpoints.iter().map(|endpoint| (endpoint.address, true));
    let virtual_ips = records.cluster_ips().iter().map(|address| (*address, false));
    let mut uses: Vec<_> = virtual_ips.chain(endpoints).collect();
    uses.sort_unstable();
    uses.dedup();
    uses
}

impl ReverseName {
    /// Reads the labels in front of `in-addr.arpa` or `ip6.arpa`. `None` when they do not spell an address or the
    /// upper part of one in the canonical way.
    pub(crate) fn read(name: &QueryName, family: Reversed) -> Option<Self> {
        let count = name.label_count().checked_sub(2)?;
        let (digit_bits, digits_max) = match family {
            Reversed::V4 => (8, 4),
            Reversed::V6 => (4, 32),
        };
        if count > digits_max {
            return None;
        }
        let mut bits = 0_u128;
        for index in (0..count).rev() {
            let digit = match family {
                Reversed::V4 => read_octet(name.label(index))?,
                Reversed::V6 => read_nibble(name.label(index))?,
            };
            bits = (bits << digit_bits) | u128::from(digit);
        }
        let missing = (digits_max - count) * digit_bits;
        let low = bits.checked_shl(missing as u32).unwrap_or(0);
        let high = low | 1_u128.checked_shl(missing as u32).map_or(u128::MAX, |bit| bit - 1);
        let address = |bits: u128| match family {
            Reversed::V4 => IpAddr::V4(Ipv4Addr::from(bits as u32)),
            Reversed::V6 => IpAddr::V6(Ipv6Addr::from(bits)),
        };
        Some(if missing == 0 {
            Self::Address(address(low))
        } else {
            Self::Range(address(low), address(high))
        })
    }
}

fn read_octet(label: &[u8]) -> Option<u8> {
    let canonical = label == b"0" || (label.first()? != &b'0' && label.iter().all(u8::is_ascii_digit));
    if canonical { std::str::from_utf8(label).ok()?.parse().ok() } else { None }
}

fn read_nibble(label: &[u8]) -> Option<u8> {
    match label {
        [digit] => char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()),
        _ => None,
    }
}
