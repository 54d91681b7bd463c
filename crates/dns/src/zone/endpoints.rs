//! The ready endpoints of one Service: sorted by address, each with its name and its set of ports.
//!
//! One slice entry takes 40 bytes; port sets are shared by all endpoints that have them. Addresses are unique per name;
//! an address that is in two slices while it moves between them counts once.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::ops::Range;
use std::sync::Arc;

use services::Protocol;

/// One address that a name points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) address: IpAddr,
    /// Explicit name; without one the endpoint is called by its address.
    pub(crate) host: Option<Arc<str>>,
    /// Index of its set of ports.
    pub(crate) ports: u32,
}

/// A port as SRV records need it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NamedPort {
    /// Lower case, `""` when unnamed.
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
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

    pub(crate) fn matches(&self, port: &NamedPort) -> bool {
        (self.name.is_empty() || self.name == port.name.as_bytes())
            && (self.protocol.is_empty() || self.protocol == port.protocol.as_str().as_bytes())
    }
}

/// Ports that a number of endpoints share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PortSet {
    pub(crate) ports: Vec<NamedPort>,
    /// How many endpoints have it.
    pub(crate) endpoints: u32,
}

/// Ready endpoints of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    list: Box<[Endpoint]>,
    /// Endpoints with an explicit name, by name, port set and address.
    by_host: Box<[u32]>,
    sets: Box<[PortSet]>,
    /// Number of IPv4 endpoints; they come first.
    v4: u32,
}

impl Endpoints {
    /// Sorts and indexes endpoints, of which `ports` is an index into `sets`.
    pub(crate) fn new(mut list: Vec<Endpoint>, mut sets: Vec<PortSet>) -> Self {
        list.sort_unstable_by(|a, b| (a.address, &a.host, a.ports).cmp(&(b.address, &b.host, b.ports)));
        merge_duplicates(&mut list, &mut sets);
        let (list, sets) = number_sets(list, sets);
        let mut by_host: Vec<u32> =
            (0_u32..).zip(&list).filter(|(_, e)| e.host.is_some()).map(|(i, _)| i).collect();
        by_host.sort_unstable_by_key(|&index| {
            let endpoint = &list[index as usize];
            (endpoint.host.clone(), endpoint.ports, index)
        });
        let v4 = list.partition_point(|endpoint| endpoint.address.is_ipv4());
        let v4 = u32::try_from(v4).unwrap_or(u32::MAX);
        Self { list: list.into(), by_host: by_host.into(), sets: sets.into(), v4 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[Endpoint] {
        &self.list
    }

    pub(crate) fn sets(&self) -> &[PortSet] {
        &self.sets
    }

    /// The ports of an endpoint.
    pub(crate) fn ports(&self, endpoint: &Endpoint) -> &[NamedPort] {
        self.sets.get(endpoint.ports as usize).map_or(&[], |set| &set.ports)
    }

    /// Positions of one family's endpoints.
    pub(crate) fn family(&self, v6: bool) -> Range<usize> {
        let v4 = self.v4 as usize;
        if v6 { v4..self.list.len() } else { 0..v4 }
    }

    /// Endpoints with explicit names, those of one name together.
    pub(crate) fn named(&self) -> impl Iterator<Item = &Endpoint> + Clone {
        self.by_host.iter().map(|index| &self.list[*index as usize])
    }

    /// The endpoints called `label`: by hostname, or by address for those without.
    pub(crate) fn by_name(&self, label: &[u8]) -> impl Iterator<Item = &Endpoint> + Clone {
        let host = |index: &u32| self.list[*index as usize].host.as_deref().unwrap_or_default().as_bytes();
        let start = self.by_host.partition_point(|index| host(index) < label);
        let length = self.by_host[start..].partition_point(|index| host(index) == label);
        let named = self.by_host[start..start + length].iter().map(|index| &self.list[*index as usize]);
        named.chain(self.by_address(label))
    }

    /// The endpoint without a hostname whose address is spelled by `label`.
    fn by_address(&self, label: &[u8]) -> Option<&Endpoint> {
        let address = read_dashed(label).filter(|address| Dashed::new(*address).as_bytes() == label)?;
        self.at(address).find(|endpoint| endpoint.host.is_none())
    }

    /// All endpoints of an address.
    pub(crate) fn at(&self, address: IpAddr) -> impl Iterator<Item = &Endpoint> {
        let start = self.list.partition_point(|endpoint| endpoint.address < address);
        self.list[start..].iter().take_while(move |endpoint| endpoint.address == address)
    }
}

/// Joins neighbours of the same address and name; their ports become the union.
fn merge_duplicates(list: &mut Vec<Endpoint>, sets: &mut Vec<PortSet>) {
    list.dedup_by(|next, kept| {
        let same = next.address == kept.address && next.host == kept.host;
        if same && next.ports != kept.ports {
            let mut ports = sets[kept.ports as usize].ports.clone();
            ports.extend(sets[next.ports as usize].ports.iter().cloned());
            kept.ports = intern(sets, ports);
        }
        same
    });
}

/// Index of this set of ports, added when it is new.
pub(crate) fn intern(sets: &mut Vec<PortSet>, mut ports: Vec<NamedPort>) -> u32 {
    ports.sort_unstable();
    ports.dedup();
    let found = sets.iter().position(|set| set.ports == ports).unwrap_or_else(|| {
        sets.push(PortSet { ports, endpoints: 0 });
        sets.len() - 1
    });
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// Drops unused sets, sorts the rest and counts their endpoints, so that equal endpoints are equal values whatever the
/// order they came in.
fn number_sets(mut list: Vec<Endpoint>, sets: Vec<PortSet>) -> (Vec<Endpoint>, Vec<PortSet>) {
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
        let port = |name: &str| NamedPort { name: name.into(), protocol: Protocol::Tcp, number: 80 };
        let mut sets = Vec::new();
        let (a, b) = (intern(&mut sets, vec![port("a")]), intern(&mut sets, vec![port("b")]));
        let endpoint = |ports| Endpoint { address: "10.0.0.1".parse().unwrap(), host: None, ports };
        let endpoints = Endpoints::new(vec![endpoint(a), endpoint(b), endpoint(a)], sets);
        assert_eq!(endpoints.as_slice().len(), 1);
        assert_eq!(endpoints.ports(&endpoints.as_slice()[0]), [port("a"), port("b")]);
    }
}
