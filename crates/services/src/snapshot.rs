//! The model's output: an immutable view, cheap to clone, and what changed since the view before.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::{HashTrieMapSync, HashTrieSetSync};

use crate::{Node, Service, ServiceName, Slice};

/// A Service with all of its slices. Either may come first: `service` is `None` while only slices are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// The Service, once seen.
    pub service: Option<Service>,
    /// Its slices.
    pub slices: Slices,
}

/// The slices of one Service, in the order of their names. Most have one for each IP family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices(Box<[Arc<Slice>]>);

impl Slices {
    /// All of them in the order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Slice>> {
        self.0.iter()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The slice of this name.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<&Arc<Slice>> {
        self.position(name).ok().map(|at| &self.0[at])
    }

    fn position(&self, name: &ServiceName) -> Result<usize, usize> {
        self.0.binary_search_by(|slice| slice.name.cmp(name))
    }

    /// Adds or replaces a slice. An equal one keeps its allocation, so that consumers may compare by pointer.
    pub(crate) fn insert(&mut self, slice: Slice) {
        match self.position(&slice.name) {
            Ok(at) if *self.0[at] == slice => {}
            Ok(at) => self.0[at] = Arc::new(slice),
            Err(at) => self.edit(|slices| slices.insert(at, Arc::new(slice))),
        }
    }

    pub(crate) fn remove(&mut self, name: &ServiceName) {
        if let Ok(at) = self.position(name) {
            self.edit(|slices| drop(slices.remove(at)));
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Vec<Arc<Slice>>)) {
        let mut slices = std::mem::take(&mut self.0).into_vec();
        slices.reserve_exact(1);
        change(&mut slices);
        self.0 = slices.into();
    }
}

impl<'a> IntoIterator for &'a Slices {
    type Item = &'a Arc<Slice>;
    type IntoIter = std::slice::Iter<'a, Arc<Slice>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
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
