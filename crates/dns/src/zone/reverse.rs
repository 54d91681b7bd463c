//! From an address to the Services that have it: virtual IPs and endpoints.
//!
//! Addresses are kept in buckets that share all but the last byte, so that a change copies one small bucket. A bucket is
//! found by hash; that prefixes are ordered too makes an empty non-terminal of a reverse zone a range query. A use holds
//! the Service's key, not its records: those may change without their addresses changing.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use rpds::RedBlackTreeSetSync;
use triomphe::ThinArc;

use super::index::{Index, Probe, Record};
use super::{Reversed, ServiceKey, ServiceRecords};
use crate::message::QueryName;

/// An address without its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Prefix {
    v6: bool,
    high: u128,
}

/// One use of an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    last: u8,
    /// False for a virtual IP: those sort first and win.
    pub(crate) endpoint: bool,
    /// The Service.
    pub(crate) key: ServiceKey,
}

/// The uses of the addresses of one prefix, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Bucket(ThinArc<Prefix, Use>);

impl Bucket {
    fn uses(&self) -> &[Use] {
        &self.0.slice
    }

    /// Where the uses of an address stand, more or less: the last bytes of a prefix are often all there.
    fn guess(&self, last: u8) -> usize {
        (self.uses().len() * usize::from(last)) >> 8
    }

    /// The uses of one address.
    fn at(&self, last: u8) -> &[Use] {
        let uses = self.uses();
        let mut start = self.guess(last);
        while start > 0 && uses[start - 1].last >= last {
            start -= 1;
        }
        while uses.get(start).is_some_and(|use_| use_.last < last) {
            start += 1;
        }
        let length = uses[start..].iter().take_while(|use_| use_.last == last).count();
        &uses[start..start + length]
    }
}

impl Record for Bucket {
    type Key = Prefix;

    fn key(&self) -> &Prefix {
        &self.0.header.header
    }

    fn touch(&self) -> usize {
        self.uses().len()
    }
}

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
        let old = self.bucket(&prefix).map_or(&[][..], Bucket::uses);
        let mut bucket = Vec::with_capacity(old.len() + edits.len());
        bucket.extend_from_slice(old);
        for &(_, last, endpoint, present) in edits {
            let use_ = Use { last, endpoint, key: key.clone() };
            match (bucket.binary_search(&use_), present) {
                (Err(at), true) => bucket.insert(at, use_),
                (Ok(at), false) => drop(bucket.remove(at)),
                _ => {}
            }
        }
        if bucket.is_empty() {
            self.buckets.remove(&prefix);
            self.prefixes.remove_mut(&prefix);
        } else {
            if old.is_empty() {
                self.prefixes.insert_mut(prefix);
            }
            self.buckets.insert(Bucket(ThinArc::from_header_and_iter(prefix, bucket.into_iter())));
        }
    }

    fn bucket(&self, prefix: &Prefix) -> Option<&Bucket> {
        self.buckets.get(prefix)
    }

    /// The Services that have this address, virtual IPs first.
    pub(crate) fn uses(&self, address: IpAddr) -> &[Use] {
        let (prefix, last) = split(address);
        self.bucket(&prefix).map_or(&[], |bucket| bucket.at(last))
    }

    /// As [`Reverse::uses`], as pairs `(is an endpoint, key)`.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = (bool, &ServiceKey)> {
        self.uses(address).iter().map(|use_| (use_.endpoint, &use_.key))
    }

    /// The uses of a batch of addresses. As in [`Index::look_up`], memory is asked for one step of all at a time.
    pub(crate) fn look_up<'z, const N: usize>(&'z self, addresses: &[Option<IpAddr>; N]) -> [&'z [Use]; N] {
        if addresses.iter().all(Option::is_none) {
            return [&[]; N];
        }
        let keys = addresses.map(|address| address.map(split));
        let mut probes: [_; N] =
            std::array::from_fn(|index| Probe::new(keys[index].as_ref().map(|(prefix, _)| prefix)));
        self.buckets.look_up(&mut probes);
        let found: [_; N] = std::array::from_fn(|index| probes[index].found().zip(keys[index]));
        let mut touched = 0;
        for (bucket, (_, last)) in found.iter().flatten() {
            touched ^= bucket.uses().get(bucket.guess(*last)).map_or(0, |use_| use_.last);
        }
        let uses: [&[Use]; N] =
            found.map(|found| found.map_or(&[][..], |(bucket, (_, last))| bucket.at(last)));
        for use_ in uses.iter().filter_map(|uses| uses.first()) {
            touched ^= use_.key.as_bytes().first().copied().unwrap_or(0);
        }
        black_box(touched);
        uses
    }

    /// True when some address between the two is known.
    pub(crate) fn any_between(&self, range: RangeInclusive<IpAddr>) -> bool {
        let ((first, first_last), (end, end_last)) = (split(*range.start()), split(*range.end()));
        self.prefixes.range(first..=end).any(|prefix| {
            let above = |use_: &Use| *prefix > first || use_.last >= first_last;
            let below = |use_: &Use| *prefix < end || use_.last <= end_last;
            let uses = self.bucket(prefix).map_or(&[][..], Bucket::uses);
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
