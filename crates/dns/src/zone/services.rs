//! One Service's names, compact, and the key they are found by.

use std::cmp::Ordering;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;

use services::{Record, ServiceName};
use triomphe::{Arc, ThinArc};

use super::{Endpoints, Ports};
use crate::name::{Name, push_label};

/// The labels `service.namespace` in lower-case wire form without a root: exactly what stands in a question. A thin
/// pointer, because every address of the zone has one.
#[derive(Clone)]
pub(crate) struct ServiceKey(ThinArc<(), u8>);

impl ServiceKey {
    /// `None` when the Service's name cannot be a label; such a Service has no names.
    pub(crate) fn new(name: &ServiceName) -> Option<Self> {
        let mut key = Vec::with_capacity(name.name().len() + name.namespace().len() + 2);
        push_label(&mut key, name.name())?;
        push_label(&mut key, name.namespace())?;
        Some(Self(ThinArc::from_header_and_slice((), &key)))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0.slice
    }

    /// Asks memory for the pointer, not for what it points to; the result means nothing.
    pub(super) fn touch(&self) -> usize {
        self.0.as_ptr().addr()
    }
}

impl PartialEq for ServiceKey {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr()) || self.as_bytes() == other.as_bytes()
    }
}

impl Eq for ServiceKey {}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

/// Bytes of a key that are kept in place: two usual names.
const KEY_BYTES_IN_PLACE: usize = 46;

/// A copy of a key inside of the records, where comparing it costs no further cache miss.
#[derive(Clone, Debug, PartialEq, Eq)]
enum PlacedKey {
    Short(u8, [u8; KEY_BYTES_IN_PLACE]),
    Long(ServiceKey),
}

impl PlacedKey {
    fn new(key: &ServiceKey) -> Self {
        let mut bytes = [0; KEY_BYTES_IN_PLACE];
        match (u8::try_from(key.as_bytes().len()), bytes.get_mut(..key.as_bytes().len())) {
            (Ok(length), Some(place)) => {
                place.copy_from_slice(key.as_bytes());
                Self::Short(length, bytes)
            }
            _ => Self::Long(key.clone()),
        }
    }
}

/// The virtual IPs of a Service, in its order: one for each family at most (KEP-563).
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ClusterIps {
    count: u8,
    list: [IpAddr; 2],
}

impl ClusterIps {
    pub(crate) fn new(addresses: &[IpAddr]) -> Self {
        let mut list = [IpAddr::V4(Ipv4Addr::UNSPECIFIED); 2];
        let count = addresses.len().min(list.len());
        list[..count].copy_from_slice(&addresses[..count]);
        Self { count: count as u8, list }
    }

    pub(crate) fn as_slice(&self) -> &[IpAddr] {
        &self.list[..usize::from(self.count)]
    }
}

/// How the Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// By virtual IPs.
    ClusterIps { addresses: ClusterIps, ports: Ports },
    /// By its endpoints.
    Headless,
    /// By another name.
    ExternalName(Name),
}

/// All that is known of one Service. What most questions need, the key and an IPv4 address, are its first bytes: a cache
/// line's worth with the count of the pointer to it, and next to nothing of a second one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct ServiceRecords {
    key: PlacedKey,
    pub(crate) kind: Kind,
    pub(crate) endpoints: Endpoints,
}

impl ServiceRecords {
    pub(crate) fn new(key: &ServiceKey, kind: Kind, endpoints: Endpoints) -> Self {
        Self { key: PlacedKey::new(key), kind, endpoints }
    }

    /// The labels `service.namespace` in lower-case wire form.
    pub(crate) fn key(&self) -> &[u8] {
        match &self.key {
            PlacedKey::Short(length, bytes) => &bytes[..usize::from(*length)],
            PlacedKey::Long(key) => key.as_bytes(),
        }
    }

    /// Asks memory for the cache line of the ports; the result means nothing.
    pub(crate) fn touch_ports(&self) -> usize {
        match &self.kind {
            Kind::ClusterIps { ports: Ports::Few(length, _), .. } => usize::from(*length),
            _ => 0,
        }
    }

    pub(crate) fn cluster_ips(&self) -> &[IpAddr] {
        match &self.kind {
            Kind::ClusterIps { addresses, .. } => addresses.as_slice(),
            _ => &[],
        }
    }
}

/// The records of a Service as versions of the zone share them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SharedRecords(Arc<ServiceRecords>);

impl SharedRecords {
    pub(super) fn new(records: ServiceRecords) -> Self {
        Self(Arc::new(records))
    }
}

impl Deref for SharedRecords {
    type Target = ServiceRecords;

    fn deref(&self) -> &ServiceRecords {
        &self.0
    }
}

impl Record for SharedRecords {
    type Key = [u8];

    fn key(&self) -> &[u8] {
        ServiceRecords::key(self)
    }

    /// The cache lines of the key and the address.
    fn touch(&self) -> usize {
        let length = match &self.key {
            PlacedKey::Short(length, _) => usize::from(*length),
            PlacedKey::Long(_) => 0,
        };
        length ^ self.cluster_ips().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_most_questions_need_is_as_long_as_a_cache_line() {
        let key = ServiceKey::new(&ServiceName::new("default", "podinfo")).unwrap();
        let addresses = ClusterIps::new(&["10.96.0.1".parse().unwrap()]);
        let kind = Kind::ClusterIps { addresses, ports: Ports::default() };
        let records = ServiceRecords::new(&key, kind, Endpoints::default());
        let start = std::ptr::from_ref(&records).addr();
        // The pointer's count stands in front.
        assert!(records.key().as_ptr().addr() + KEY_BYTES_IN_PLACE - start < 64 - size_of::<usize>());
        assert!(records.cluster_ips().as_ptr().addr() + 5 - start < 64 - size_of::<usize>());
        assert_eq!(size_of::<ServiceRecords>(), 128);
    }
}
