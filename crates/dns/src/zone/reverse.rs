//! From an address to the Services that have it: virtual IPs and endpoints.
//!
//! Addresses are kept in buckets that share all but the last byte, so that a change copies one small bucket. A bucket is
//! found by hash; that prefixes are ordered too makes an empty non-terminal of a reverse zone a range query. A bucket holds
//! the Services' keys, not their records: those may change without their addresses changing.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use rpds::RedBlackTreeSetSync;
use services::{Index, Probe};

use super::bucket::{Bucket, Draft, Use, Uses};
use super::{Reversed, ServiceKey, ServiceRecords};
use crate::message::QueryName;

/// An address without its last byte. IPv6 has the uppermost bit set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Prefix(u128);

/// All addresses of the zone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reverse {
    buckets: Index<Bucket>,
    /// The prefixes that have a bucket, in order.
    prefixes: RedBlackTreeSetSync<Prefix>,
}

impl PartialEq for Reverse {
    fn eq(&self, other: &Self) -> bool {
        self.buckets == other.buckets
    }
}

/// What a name of a reverse zone spells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReverseName {
    /// One address.
    Address(IpAddr),
    /// The addresses between two, when only the upper part is spelled.
    Range(IpAddr, IpAddr),
}

pub(super) fn split(address: IpAddr) -> (Prefix, u8) {
    match address {
        IpAddr::V4(address) => {
            let bits = u32::from(address);
            (Prefix(u128::from(bits >> 8)), bits as u8)
        }
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            (Prefix(bits >> 8 | 1 << 127), bits as u8)
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
        let old = self.bucket(&prefix);
        let is_new = old.is_none();
        let mut draft = Draft::of(old, edits.len());
        for &(_, last, endpoint, present) in edits {
            if present {
                draft.insert(last, endpoint, key);
            } else {
                draft.remove(last, endpoint, key);
            }
        }
        if draft.is_empty() {
            self.buckets.remove(&prefix);
            self.prefixes.remove_mut(&prefix);
        } else {
            if is_new {
                self.prefixes.insert_mut(prefix);
            }
            self.buckets.insert(draft.finish(prefix));
        }
    }

    fn bucket(&self, prefix: &Prefix) -> Option<&Bucket> {
        self.buckets.get(prefix)
    }

    /// The Services that have this address.
    pub(crate) fn uses(&self, address: IpAddr) -> Uses<'_> {
        let (prefix, last) = split(address);
        self.bucket(&prefix).map_or(Uses::default(), |bucket| bucket.at(last))
    }

    /// The uses of a batch of addresses. As in [`Index::look_up`], memory is asked for one step of all at a time.
    pub(crate) fn look_up<'z, const N: usize>(&'z self, addresses: &[Option<IpAddr>; N]) -> [Uses<'z>; N] {
        if addresses.iter().all(Option::is_none) {
            return [Uses::default(); N];
        }
        let keys = addresses.map(|address| address.map(split));
        let mut probes: [_; N] =
            std::array::from_fn(|index| Probe::new(keys[index].as_ref().map(|(prefix, _)| prefix)));
        self.buckets.look_up(&mut probes);
        let found: [_; N] = std::array::from_fn(|index| probes[index].found().zip(keys[index]));
        let mut touched = 0;
        for (bucket, (_, last)) in found.iter().flatten() {
            touched ^= bucket.touch_at(*last);
        }
        let uses: [Uses<'_>; N] =
            found.map(|found| found.map_or(Uses::default(), |(bucket, (_, last))| bucket.at(last)));
        for key in uses.iter().filter_map(|uses| uses.first()) {
            touched ^= key.touch();
        }
        for key in uses.iter().filter_map(|uses| uses.first()) {
            touched ^= usize::from(key.as_bytes().first().copied().unwrap_or(0));
        }
        black_box(touched);
        uses
    }

    /// True when some address between the two is known.
    pub(crate) fn any_between(&self, range: RangeInclusive<IpAddr>) -> bool {
        let ((first, first_last), (end, end_last)) = (split(*range.start()), split(*range.end()));
        self.prefixes.range(first..=end).any(|prefix| {
            let above = |use_: &Use| *prefix > first || use_.last() >= first_last;
            let below = |use_: &Use| *prefix < end || use_.last() <= end_last;
            let uses = self.bucket(prefix).map_or(&[][..], Bucket::list);
            uses.iter().any(|use_| above(use_) && below(use_))
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
    /// The address, if it is a whole one.
    pub(crate) fn address(self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(address),
            Self::Range(..) => None,
        }
    }

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
    let canonical = label == b"0" || (label.first()? != &b'0' && label.len() <= 3);
    let digit = |value: u16, byte: &u8| {
        Some(value * 10 + u16::from(byte.checked_sub(b'0').filter(|digit| *digit < 10)?))
    };
    let value = label.iter().filter(|_| canonical).try_fold(0, digit)?;
    if canonical { u8::try_from(value).ok() } else { None }
}

fn read_nibble(label: &[u8]) -> Option<u8> {
    match label {
        [digit] => char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok()),
        _ => None,
    }
}
