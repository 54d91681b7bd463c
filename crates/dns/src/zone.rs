//! The zone: what the service model says, in the form that a question needs.
//!
//! A [`Zone`] is immutable once published and cheap to clone (its maps share structure); [`Zone::update`] costs what
//! changed, and the same objects in any order give an equal zone. It does no I/O and knows no clock: the serial is
//! handed in. Looking up is `locate`'s business, writing answers that of [`crate::answer`].

mod bucket;
mod build;
mod config;
mod dump;
mod endpoints;
mod ports;
mod reverse;
mod services;

pub(crate) use bucket::Uses;
pub(crate) use config::Reversed;
pub use config::{Pods, Suffix, ZoneConfig};
pub(crate) use endpoints::{Dashed, Endpoint, Endpoints, PortFilter, read_dashed};
pub(crate) use ports::{Port, Ports};
pub(crate) use reverse::{Reverse, ReverseName};
pub(crate) use services::{ClusterIps, Kind, ServiceKey, ServiceRecords, SharedRecords};

use std::collections::HashSet;
use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use ::services::{Changes, Index, Probe, Snapshot};
use foldhash::quality::RandomState;
use rpds::HashTrieSetSync;

/// All names of the cluster at one moment.
#[derive(Clone, Debug)]
pub struct Zone {
    config: Arc<ZoneConfig>,
    /// SOA serial: by convention the Unix second of the last change.
    serial: u32,
    services: Index<SharedRecords>,
    namespaces: Namespaces,
    reverse: Reverse,
    pods: PodTable,
}

/// The namespaces whose names are served, as labels. Asked at every answer and changed rarely: flat, and copied whole.
type Namespaces = Arc<HashSet<Box<[u8]>, RandomState>>;

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
            namespaces: Namespaces::default(),
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
        zone.read_namespaces(snapshot);
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
        if !changes.namespaces.is_empty() {
            zone.read_namespaces(snapshot);
        }
        if visible {
            zone.serial = serial;
        }
        zone
    }

    fn read_namespaces(&mut self, snapshot: &Snapshot) {
        let served = snapshot.namespaces.iter().filter(|namespace| self.config.exposes(namespace));
        self.namespaces = Arc::new(served.map(|namespace| namespace.as_bytes().into()).collect());
    }

    /// The same zone with another pod table.
    #[must_use]
    pub fn with_pods(&self, pods: PodTable) -> Self {
        Self { pods, ..self.clone() }
    }

    /// The same names under a configuration that differs in its suffixes only: what is read from the objects stays.
    #[must_use]
    pub fn with_config(&self, config: Arc<ZoneConfig>) -> Self {
        Self { config, ..self.clone() }
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
        self.namespaces.contains(namespace)
    }

    /// The Service of the labels `service.namespace` in lower-case wire form.
    pub(crate) fn service(&self, labels: &[u8]) -> Option<&ServiceRecords> {
        self.services.get(labels).map(Deref::deref)
    }

    /// As [`Zone::service`], for a batch of queries.
    pub(crate) fn look_up<const N: usize>(&self, labels: [Option<&[u8]>; N]) -> [Option<&ServiceRecords>; N] {
        let mut probes = labels.map(Probe::new);
        self.services.look_up(&mut probes);
        probes.map(|probe| probe.found().map(Deref::deref))
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
