//! EndpointSlices as the model keeps them. A cluster has many times more endpoints than anything else, so those of a
//! slice are packed into one piece of memory, to be read one after the other:
//!
//! ```text
//! flags (1 byte) │ address (4 or 16) │ length and hostname, if any │ length and pod's name, if any
//! ```
//!
//! Where an endpoint runs, and whom it is for, it shares with all others of which the same is true.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::ServiceName;
use crate::name::Protocol;

/// One port of a slice. A slice without a port number means "all ports" and is of no use to a proxy; DNS ignores it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlicePort {
    /// Name that matches a [`crate::ServicePort::name`], `""` when unnamed.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on the endpoint.
    pub port: u16,
}

/// One address of a slice with what decides its use, as [`Endpoints::iter`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint<'a> {
    /// The address. Slices list several addresses per endpoint only in theory; each becomes an endpoint here.
    pub address: IpAddr,
    /// False where proxies send nothing, though it has names: behind the first address of an endpoint, which has no
    /// meaning to them, and in a slice with the label `service.kubernetes.io/headless`.
    pub proxied: bool,
    /// `conditions.ready`, nil = true.
    pub ready: bool,
    /// `conditions.serving`, nil = true.
    pub serving: bool,
    /// `conditions.terminating`, nil = false.
    pub terminating: bool,
    /// Host name, if the pod sets one for this Service (KEP: `hostname` + `subdomain`).
    pub hostname: Option<&'a str>,
    /// `targetRef`'s name, when it is a Pod.
    pub pod: Option<&'a str>,
    /// Node that it runs on.
    pub node: Option<&'a Arc<str>>,
    /// Zone that it runs in.
    pub zone: Option<&'a Arc<str>>,
    /// `hints.forZones`.
    pub for_zones: &'a [Arc<str>],
    /// `hints.forNodes`.
    pub for_nodes: &'a [Arc<str>],
}

/// Where endpoints run, and whom their hints are for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Placement {
    pub(crate) node: Option<Arc<str>>,
    pub(crate) zone: Option<Arc<str>>,
    pub(crate) for_zones: Box<[Arc<str>]>,
    pub(crate) for_nodes: Box<[Arc<str>]>,
}

impl AsRef<Placement> for Placement {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// One EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Namespace and name of the object.
    pub name: ServiceName,
    /// Its ports; slices with equal ports share them.
    pub ports: Arc<[SlicePort]>,
    /// Its endpoints in the object's order.
    pub endpoints: Endpoints,
}

/// The endpoints of a slice, packed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Endpoints {
    records: Box<[u8]>,
    /// One for each endpoint; none at all where no endpoint has any.
    placements: Box<[Arc<Placement>]>,
    count: u32,
}

impl Endpoints {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of them in the object's order.
    #[must_use]
    pub fn iter(&self) -> EndpointIter<'_> {
        EndpointIter { records: &self.records, placements: self.placements.iter(), left: self.len() }
    }
}

impl<'a> IntoIterator for &'a Endpoints {
    type Item = Endpoint<'a>;
    type IntoIter = EndpointIter<'a>;

    fn into_iter(self) -> EndpointIter<'a> {
        self.iter()
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

const PROXIED: u8 = 1;
const READY: u8 = 1 << 1;
const SERVING: u8 = 1 << 2;
const TERMINATING: u8 = 1 << 3;
const IPV6: u8 = 1 << 4;
const HOSTNAME: u8 = 1 << 5;
const POD: u8 = 1 << 6;

/// Packs the endpoints of one slice.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    records: Vec<u8>,
    placements: Vec<Arc<Placement>>,
    count: u32,
    placed: bool,
}

impl Packer {
    /// Adds an endpoint; its node, zone and hints are `placement`'s.
    pub(crate) fn push(&mut self, endpoint: &Endpoint<'_>, placement: Arc<Placement>) {
        let hostname = endpoint.hostname.and_then(Text::new);
        let pod = endpoint.pod.and_then(Text::new);
        let flags = [
            (endpoint.proxied, PROXIED),
            (endpoint.ready, READY),
            (endpoint.serving, SERVING),
            (endpoint.terminating, TERMINATING),
            (endpoint.address.is_ipv6(), IPV6),
            (hostname.is_some(), HOSTNAME),
            (pod.is_some(), POD),
        ];
        self.records.push(flags.iter().filter(|(is, _)| *is).fold(0, |flags, (_, flag)| flags | flag));
        match endpoint.address {
            IpAddr::V4(address) => self.records.extend(address.octets()),
            IpAddr::V6(address) => self.records.extend(address.octets()),
        }
        for text in [hostname, pod].into_iter().flatten() {
            self.records.push(text.length);
            self.records.extend(text.text.as_bytes());
        }
        self.placed |= *placement != Placement::default();
        self.placements.push(placement);
        self.count += 1;
    }

    pub(crate) fn finish(mut self) -> Endpoints {
        if !self.placed {
            self.placements = Vec::new();
        }
        let (records, placements) = (self.records.into(), self.placements.into());
        Endpoints { records, placements, count: self.count }
    }
}

/// A text whose length fits a byte; longer ones are no names of pods or hosts (RFC 1123).
#[derive(Clone, Copy)]
struct Text<'a> {
    length: u8,
    text: &'a str,
}

impl<'a> Text<'a> {
    fn new(text: &'a str) -> Option<Self> {
        Some(Self { length: u8::try_from(text.len()).ok()?, text })
    }
}

/// Reads packed endpoints.
#[derive(Clone, Debug)]
pub struct EndpointIter<'a> {
    records: &'a [u8],
    placements: std::slice::Iter<'a, Arc<Placement>>,
    left: usize,
}

impl<'a> EndpointIter<'a> {
    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.records.split_at_checked(bytes)?;
        self.records = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        let [byte] = *self.take(1)? else { return None };
        Some(byte)
    }

    fn address(&mut self, ipv6: bool) -> Option<IpAddr> {
        Some(if ipv6 {
            <[u8; 16]>::try_from(self.take(16)?).ok()?.into()
        } else {
            <[u8; 4]>::try_from(self.take(4)?).ok()?.into()
        })
    }

    fn text(&mut self, present: bool) -> Option<&'a str> {
        if !present {
            return None;
        }
        let length = self.byte()?;
        str::from_utf8(self.take(length.into())?).ok()
    }
}

impl<'a> Iterator for EndpointIter<'a> {
    type Item = Endpoint<'a>;

    fn next(&mut self) -> Option<Endpoint<'a>> {
        let flags = self.byte()?;
        let is = |flag| flags & flag != 0;
        let address = self.address(is(IPV6))?;
        let (hostname, pod) = (self.text(is(HOSTNAME)), self.text(is(POD)));
        let placement = self.placements.next();
        self.left = self.left.saturating_sub(1);
        Some(Endpoint {
            address,
            proxied: is(PROXIED),
            ready: is(READY),
            serving: is(SERVING),
            terminating: is(TERMINATING),
            hostname,
            pod,
            node: placement.and_then(|placement| placement.node.as_ref()),
            zone: placement.and_then(|placement| placement.zone.as_ref()),
            for_zones: placement.map_or(&[], |placement| &placement.for_zones),
            for_nodes: placement.map_or(&[], |placement| &placement.for_nodes),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for EndpointIter<'_> {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What an endpoint is made of: address, conditions, host name, pod, node.
    type Parts = (IpAddr, [bool; 4], Option<String>, Option<String>, Option<String>);

    fn parts() -> impl Strategy<Value = Parts> {
        let name = || prop::option::of("[a-z0-9-]{0,300}");
        (any::<IpAddr>(), any::<[bool; 4]>(), name(), name(), prop::option::of("[ab]"))
    }

    fn endpoint<'a>(parts: &'a Parts, node: Option<&'a Arc<str>>) -> Endpoint<'a> {
        let (address, [proxied, ready, serving, terminating], hostname, pod, _) = parts;
        // Longer texts are no names.
        let name = |text: &'a Option<String>| text.as_deref().filter(|text| text.len() < 256);
        let (address, hostname, pod) = (*address, name(hostname), name(pod));
        let (proxied, ready, serving, terminating) = (*proxied, *ready, *serving, *terminating);
        let (zone, for_zones, for_nodes): (_, &[_], &[_]) = (None, &[], &[]);
        Endpoint {
            address,
            proxied,
            ready,
            serving,
            terminating,
            hostname,
            pod,
            node,
            zone,
            for_zones,
            for_nodes,
        }
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read(list in prop::collection::vec(parts(), 0..20)) {
            let nodes: Vec<Option<Arc<str>>> =
                list.iter().map(|(.., node)| node.as_deref().map(Arc::from)).collect();
            let mut packer = Packer::default();
            for (parts, node) in list.iter().zip(&nodes) {
                let placement = Placement { node: node.clone(), ..Placement::default() };
                packer.push(&endpoint(parts, None), Arc::new(placement));
            }
            let packed = packer.finish();
            prop_assert_eq!(packed.len(), list.len());
            let expected = list.iter().zip(&nodes).map(|(parts, node)| endpoint(parts, node.as_ref()));
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), expected.collect::<Vec<_>>());
        }
    }
}
