//! The ready endpoints of one Service: sorted by address, each with its name and its set of ports.
//!
//! All of a Service are one piece of memory. An endpoint takes the bytes of its address (4 or 16), unless some of the Service
//! have names of their own or other ports than the rest: then 28 more. Lists of ports are the model's where they are in order. Addresses are unique per name; an
//! address that is in two slices while it moves between them counts once.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use services::SlicePort;
use triomphe::ThinArc;

use super::Port;

/// One address that a name points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint<'e> {
    pub(crate) address: IpAddr,
    /// Explicit name; without one the endpoint is called by its address.
    pub(crate) host: Option<&'e str>,
    /// Index of its set of ports.
    pub(crate) ports: u32,
}

/// One address as it is read, before all are sorted and packed.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) address: IpAddr,
    pub(super) host: Option<Arc<str>>,
    pub(super) ports: u32,
}

/// Which ports a name means: `_port._protocol` in front of a Service's name, either of which may be empty for "any".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PortFilter<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) protocol: &'a [u8],
}

impl PortFilter<'_> {
    pub(crate) fn is_any(&self) -> bool {
        self.name.is_empty() && self.protocol.is_empty()
    }

    pub(crate) fn matches(&self, port: Port<'_>) -> bool {
        (self.name.is_empty() || self.name == port.name)
            && (self.protocol.is_empty() || self.protocol == port.protocol.as_str().as_bytes())
    }
}

/// Ports that a number of endpoints share: sorted, their names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortSet {
    pub(crate) ports: Arc<[SlicePort]>,
    /// How many endpoints have it.
    pub(crate) endpoints: u32,
}

/// Ready endpoints of a Service: their addresses, sorted. A position counts IPv4 addresses first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints(Option<ThinArc<Head, u8>>);

/// What is known of endpoints beside their addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Head {
    /// How many have an IPv4 address.
    v4: u32,
    rest: Rest,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Rest {
    /// What most Services do with: all endpoints are called by their addresses and have these ports.
    Alike(Arc<[SlicePort]>),
    Different(Box<Details>),
}

/// Names and port sets of endpoints that are not all alike.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Details {
    sets: Box<[PortSet]>,
    /// Explicit name and port set, by position.
    list: Box<[(Option<Arc<str>>, u32)]>,
    /// Positions with an explicit name, by name, port set and address.
    by_host: Box<[u32]>,
}

impl Details {
    fn new(list: Vec<Listed>, sets: Vec<PortSet>) -> Self {
        let list: Box<[_]> = list.into_iter().map(|listed| (listed.host, listed.ports)).collect();
        let named = (0_u32..).zip(&list).filter(|(_, (host, _))| host.is_some());
        let mut by_host: Vec<u32> = named.map(|(position, _)| position).collect();
        by_host.sort_unstable_by_key(|&position| (&list[position as usize], position));
        Self { sets: sets.into(), by_host: by_host.into(), list }
    }
}

impl Endpoints {
    /// Sorts and indexes endpoints, of which `ports` is an index into `sets`.
    pub(super) fn new(mut list: Vec<Listed>, mut sets: Vec<PortSet>) -> Self {
        list.sort_unstable_by(|a, b| (a.address, &a.host, a.ports).cmp(&(b.address, &b.host, b.ports)));
        merge_duplicates(&mut list, &mut sets);
        let (list, mut sets) = number_sets(list, sets);
        let mut addresses = Vec::new();
        let mut v4 = 0;
        for listed in &list {
            match listed.address {
                IpAddr::V4(address) => addresses.extend(address.octets()),
                IpAddr::V6(address) => addresses.extend(address.octets()),
            }
            v4 += u32::from(listed.address.is_ipv4());
        }
        let differ = sets.len() > 1 || list.iter().any(|listed| listed.host.is_some());
        let rest = match sets.pop() {
            None => return Self::default(),
            Some(only) if !differ => Rest::Alike(only.ports),
            Some(last) => {
                sets.push(last);
                Rest::Different(Box::new(Details::new(list, sets)))
            }
        };
        Self(Some(ThinArc::from_header_and_slice(Head { v4, rest }, &addresses)))
    }

    fn details(&self) -> Option<&Details> {
        match &self.0.as_ref()?.header.header.rest {
            Rest::Alike(_) => None,
            Rest::Different(details) => Some(details),
        }
    }

    /// The addresses of both families.
    fn addresses(&self) -> (&[[u8; 4]], &[[u8; 16]]) {
        let Some(all) = &self.0 else { return (&[], &[]) };
        let (v4, v6) = all.slice.split_at(all.header.header.v4 as usize * 4);
        (v4.as_chunks().0, v6.as_chunks().0)
    }

    pub(crate) fn len(&self) -> usize {
        let (v4, v6) = self.addresses();
        v4.len() + v6.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The address at a position, which must be one.
    pub(crate) fn address(&self, position: usize) -> IpAddr {
        let (v4, v6) = self.addresses();
        match position.checked_sub(v4.len()) {
            None => IpAddr::from(v4[position]),
            Some(position) => IpAddr::from(v6[position]),
        }
    }

    fn get(&self, position: usize) -> Endpoint<'_> {
        let address = self.address(position);
        match self.details() {
            None => Endpoint { address, host: None, ports: 0 },
            Some(details) => {
                let (host, ports) = &details.list[position];
                Endpoint { address, host: host.as_deref(), ports: *ports }
            }
        }
    }

    /// All endpoints by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Endpoint<'_>> + Clone {
        (0..self.len()).map(|position| self.get(position))
    }

    /// The different lists of ports, and how many endpoints have each.
    pub(crate) fn sets(&self) -> impl Iterator<Item = (&[SlicePort], usize)> {
        let alike = self.alike().map(|ports| (ports, self.len()));
        let sets = self.details().map_or(&[][..], |details| &details.sets);
        alike.into_iter().chain(sets.iter().map(|set| (&set.ports[..], set.endpoints as usize)))
    }

    /// The ports of all endpoints, where they have the same.
    fn alike(&self) -> Option<&[SlicePort]> {
        match &self.0.as_ref()?.header.header.rest {
            Rest::Alike(ports) => Some(ports),
            Rest::Different(_) => None,
        }
    }

    /// The ports of an endpoint.
    pub(crate) fn ports(&self, endpoint: Endpoint<'_>) -> &[SlicePort] {
        match self.details() {
            None => self.alike().unwrap_or_default(),
            Some(details) => details.sets.get(endpoint.ports as usize).map_or(&[], |set| &set.ports),
        }
    }

    /// Positions of one family's endpoints.
    pub(crate) fn family(&self, v6: bool) -> Range<usize> {
        let (v4_addresses, v6_addresses) = self.addresses();
        let middle = v4_addresses.len();
        if v6 { middle..middle + v6_addresses.len() } else { 0..middle }
    }

    fn by_host(&self) -> &[u32] {
        self.details().map_or(&[], |details| &details.by_host)
    }

    /// Endpoints with explicit names, those of one name together.
    pub(crate) fn named(&self) -> impl Iterator<Item = Endpoint<'_>> + Clone {
        self.by_host().iter().map(|position| self.get(*position as usize))
    }

    /// The endpoints called `label`: by hostname, or by address for those without.
    pub(crate) fn by_name(&self, label: &[u8]) -> impl Iterator<Item = Endpoint<'_>> + Clone {
        let host = |position: &u32| self.get(*position as usize).host.unwrap_or_default().as_bytes();
        let by_host = self.by_host();
        let start = by_host.partition_point(|position| host(position) < label);
        let length = by_host[start..].partition_point(|position| host(position) == label);
        let named = by_host[start..start + length].iter().map(|position| self.get(*position as usize));
        named.chain(self.by_address(label))
    }

    /// The endpoint without a hostname whose address is spelled by `label`.
    fn by_address(&self, label: &[u8]) -> Option<Endpoint<'_>> {
        let address = read_dashed(label).filter(|address| Dashed::new(*address).as_bytes() == label)?;
        self.at(address).find(|endpoint| endpoint.host.is_none())
    }

    /// All endpoints of an address.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = Endpoint<'_>> {
        let (v4, v6) = self.addresses();
        let start = match address {
            IpAddr::V4(address) => v4.partition_point(|other| *other < address.octets()),
            IpAddr::V6(address) => v4.len() + v6.partition_point(|other| *other < address.octets()),
        };
        let rest = (start..self.len()).take_while(move |position| self.address(*position) == address);
        rest.map(|position| self.get(position))
    }
}

/// Joins neighbours of the same address and name; their ports become the union.
fn merge_duplicates(list: &mut Vec<Listed>, sets: &mut Vec<PortSet>) {
    list.dedup_by(|next, kept| {
        let same = next.address == kept.address && next.host == kept.host;
        if same && next.ports != kept.ports {
            let mut ports = sets[kept.ports as usize].ports.to_vec();
            ports.extend(sets[next.ports as usize].ports.iter().cloned());
            kept.ports = intern(sets, ports.into());
        }
        same
    });
}

/// Index of this set of ports, added when it is new.
pub(crate) fn intern(sets: &mut Vec<PortSet>, mut ports: Arc<[SlicePort]>) -> u32 {
    if !ports.is_sorted_by(|one, other| one < other) {
        let sorted: BTreeSet<_> = ports.iter().cloned().collect();
        ports = sorted.into_iter().collect();
    }
    let found = sets.iter().position(|set| set.ports == ports).unwrap_or_else(|| {
        sets.push(PortSet { ports, endpoints: 0 });
        sets.len() - 1
    });
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// Drops unused sets, sorts the rest and counts their endpoints, so that equal endpoints are equal values whatever the
/// order they came in.
fn number_sets(mut list: Vec<Listed>, sets: Vec<PortSet>) -> (Vec<Listed>, Vec<PortSet>) {
    let mut counts = vec![0_u32; sets.len()];
    for endpoint in &list {
        counts[endpoint.ports as usize] += 1;
    }
    let counted = (0_u32..).zip(sets).zip(counts).filter(|(_, count)| *count > 0);
    let mut used: Vec<(u32, PortSet)> =
        counted.map(|((old, set), endpoints)| (old, PortSet { endpoints, ..set })).collect();
    used.sort_unstable_by(|a, b| a.1.ports.cmp(&b.1.ports));
    for endpoint in &mut list {
        let new = used.iter().position(|(old, _)| *old == endpoint.ports);
        endpoint.ports = new.and_then(|new| u32::try_from(new).ok()).unwrap_or(0);
    }
    (list, used.into_iter().map(|(_, set)| set).collect())
}

/// The name of an endpoint or pod by its address: `10-1-2-3`, `2001-db8--1`, and a `0` behind a final dash, which no
/// label may end in. On the stack.
pub(crate) struct Dashed {
    text: [u8; 48],
    length: usize,
}

impl Dashed {
    pub(crate) fn new(address: IpAddr) -> Self {
        let mut dashed = Self { text: [0; 48], length: 0 };
        // An address has at most 45 characters, so it fits.
        let _ = write!(dashed, "{address}");
        if dashed.length > 0 && dashed.text[dashed.length - 1] == b'-' {
            let _ = dashed.write_str("0");
        }
        dashed
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.text[..self.length]
    }
}

impl std::fmt::Write for Dashed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            *self.text.get_mut(self.length).ok_or(std::fmt::Error)? =
                if byte == b'.' || byte == b':' { b'-' } else { byte };
            self.length += 1;
        }
        Ok(())
    }
}

/// The address that a label spells with dashes.
pub(crate) fn read_dashed(label: &[u8]) -> Option<IpAddr> {
    let mut text = [0; 45];
    let v4 = label.iter().filter(|byte| **byte == b'-').count() == 3
        && !label.windows(2).any(|pair| pair == b"--");
    let text = text.get_mut(..label.len())?;
    for (to, from) in text.iter_mut().zip(label) {
        *to = if *from == b'-' { if v4 { b'.' } else { b':' } } else { *from };
    }
    let text = std::str::from_utf8(text).ok()?;
    if v4 { text.parse().ok().map(IpAddr::V4) } else { text.parse::<Ipv6Addr>().ok().map(IpAddr::V6) }
}

#[cfg(test)]
mod tests {
    use services::Protocol;

    use super::*;

    #[test]
    fn addresses_are_spelled_with_dashes() {
        for (address, name) in [
            ("172.0.0.3", "172-0-0-3"),
            ("5678:abcd::1", "5678-abcd--1"),
            ("2001:db8::", "2001-db8--0"),
            ("::1", "--1"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(Dashed::new(address).as_bytes(), name.as_bytes());
            assert_eq!(read_dashed(name.as_bytes()), Some(address));
        }
        for label in ["blah", "1-2-3", "1-2-3-256", "", &"1-".repeat(40)] {
            assert_eq!(read_dashed(label.as_bytes()), None, "{label}");
        }
    }

    #[test]
    fn an_address_that_moves_between_slices_counts_once() {
        let port = |name: &str| SlicePort { name: name.into(), protocol: Protocol::Tcp, port: 80 };
        let mut sets = Vec::new();
        let (a, b) = (intern(&mut sets, [port("a")].into()), intern(&mut sets, [port("b")].into()));
        let endpoint = |ports| Listed { address: "10.0.0.1".parse().unwrap(), host: None, ports };
        let endpoints = Endpoints::new(vec![endpoint(a), endpoint(b), endpoint(a)], sets);
        assert_eq!(endpoints.len(), 1);
        assert_eq!(endpoints.ports(endpoints.get(0)), [port("a"), port("b")]);
    }
}
