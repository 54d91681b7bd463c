//! The model's output: an immutable view, cheap to clone, and what changed since the view before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rpds::{HashTrieMapSync, HashTrieSetSync};

use crate::{Node, Service, ServiceName, Slice};

/// A Service with all of its slices. Either may come first: `service` is `None` while only slices are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// The Service, once seen.
    pub service: Option<Service>,
    /// Its slices by object name.
    pub slices: BTreeMap<Arc<str>, Arc<Slice>>,
}

/// All of the model at one moment. Cloning is O(1): the maps share structure.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Services and slices, joined by namespace and `kubernetes.io/service-name`.
    pub services: HashTrieMapSync<ServiceName, Arc<ServiceState>>,
    /// Nodes by name.
    pub nodes: HashTrieMapSync<Arc<str>, Arc<Node>>,
    /// Names of the namespaces that exist (DNS tells NODATA from NXDOMAIN by them).
    pub namespaces: HashTrieSetSync<Arc<str>>,
}

/// Keys whose state differs between two snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Services of which the Service or a slice was added, changed or removed.
    pub services: BTreeSet<ServiceName>,
    /// Nodes likewise.
    pub nodes: BTreeSet<Arc<str>>,
    /// Namespaces that came or went.
    pub namespaces: BTreeSet<Arc<str>>,
}

impl Changes {
    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.nodes.is_empty() && self.namespaces.is_empty()
    }
}
