//! The zone: what the service model says, in the form that a question needs.
//!
//! A [`Zone`] is immutable once published and cheap to clone (its maps share structure); [`Zone::update`] costs what
//! changed, and the same objects in any order give an equal zone. It does no I/O and knows no clock: the serial is
//! handed in. Looking up is `locate`'s business, writing answers that of [`crate::answer`].

mod build;
mod config;
mod dump;
mod endpoints;
mod index;
mod reverse;
mod services;

pub(crate) use config::Reversed;
pub use config::{Pods, Suffix, ZoneConfig};
pub(crate) use endpoints::{Dashed, Endpoint, Endpoints, NamedPort, PortFilter, read_dashed};
pub(crate) use reverse::{Reverse, ReverseName};
pub(crate) use services::{ClusterIps, Kind, ServiceKey, ServiceRecords};

use std::net::IpAddr;
use std::sync::Arc;

use ::services::{Changes, Snapshot};
use index::Index;
use rpds::HashTrieSetSync;

/// All names of the cluster at one moment.
#[derive(Clone, Debug)]
pub struct Zone {
    config: Arc<ZoneConfig>,
    /// SOA serial: by convention the Unix second of the last change.
    serial: u32,
    services: Index,
    namespaces: HashTrieSetSync<Arc<str>>,
    reverse: Reverse,
    pods: PodTable,
}

/// Pods by namespace and address, for [`Pods::Verified`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodTable(HashTrieSetSync<Box<[u8]>>);

impl PodTable {
    /// Adds a pod.
    pub fn insert(&mut self, namespace: &str, address: IpAddr) {
        self.0.insert_mut(pod_key(namespace.as_bytes(), address).into());
    }

    /// Removes a pod.
    pub fn remove(&mut self, namespace: &str, address: IpAddr) {
        self.0.remove_mut(&pod_key(namespace.as_bytes(), address)[..]);
    }

    pub(crate) fn contains(&self, namespace: &[u8], address: IpAddr) -> bool {
        self.0.contains(&pod_key(namespace, address)[..])
    }
}

fn pod_key(namespace: &[u8], address: IpAddr) -> Vec<u8> {
    let mut key = namespace.to_vec();
    match address {
        IpAddr::V4(address) => key.extend(address.octets()),
        IpAddr::V6(address) => key.extend(address.octets()),
    }
    key
}

impl Zone {
    /// A zone without names.
    #[must_use]
    pub fn empty(config: Arc<ZoneConfig>) -> Self {
        Self {
            config,
            serial: 0,
            services: Index::default(),
            namespaces: HashTrieSetSync::new_sync(),
            reverse: Reverse::default(),
            pods: PodTable::default(),
        }
    }

    /// The zone of everything in `snapshot`.
    #[must_use]
    pub fn build(config: Arc<ZoneConfig>, snapshot: &Snapshot, serial: u32) -> Self {
        let mut zone = Self::empty(config);
        for name in snapshot.services.keys() {
            zone.apply(snapshot, name);
        }
        zone.namespaces = snapshot.namespaces.clone();
        zone.serial = serial;
        zone
    }

    /// The zone after `changes`, of which `snapshot` holds the outcome. Costs what changed. `serial` (a Unix second)
    /// counts only when an answer differs.
    #[must_use]
    pub fn update(&self, snapshot: &Snapshot, changes: &Changes, serial: u32) -> Self {
        let mut zone = self.clone();
        let mut visible = !changes.namespaces.is_empty();
        for name in &changes.services {
            visible |= zone.apply(snapshot, name);
        }
        zone.namespaces = snapshot.namespaces.clone();
        if visible {
            zone.serial = serial;
        }
        zone
    }

    /// The same zone with another pod table.
    #[must_use]
    pub fn with_pods(&self, pods: PodTable) -> Self {
        Self { pods, ..self.clone() }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &ZoneConfig {
        &self.config
    }

    /// The SOA serial.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Number of Services with names.
    #[must_use]
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// True when names of this namespace are served: it exists and the configuration exposes it.
    pub(crate) fn has_namespace(&self, namespace: &[u8]) -> bool {
        std::str::from_utf8(namespace)
            .is_ok_and(|namespace| self.namespaces.contains(namespace) && self.config.exposes(namespace))
    }

    /// The Service of the labels `service.namespace` in lower-case wire form.
    pub(crate) fn service(&self, labels: &[u8]) -> Option<&ServiceRecords> {
        self.services.get(labels).map(AsRef::as_ref)
    }

    pub(crate) fn reverse(&self) -> &Reverse {
        &self.reverse
    }

    pub(crate) fn pods(&self) -> &PodTable {
        &self.pods
    }
}

impl PartialEq for Zone {
    /// Equal answers; the serial may differ.
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
            && self.namespaces == other.namespaces
            && self.pods == other.pods
            && self.services == other.services
            && self.reverse == other.reverse
    }
}
