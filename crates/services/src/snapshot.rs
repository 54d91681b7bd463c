//! The model's output: an immutable view, cheap to clone, and what changed since the view before.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::{HashTrieMapSync, HashTrieSetSync};

use crate::{Index, Node, Record, Service, ServiceName, Slice};

/// A Service with all of its slices. Either may come first: `service` is `None` while only slices are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceState {
    /// The Service, once seen.
    pub service: Option<Service>,
    /// Its slices.
    pub slices: Slices,
}

/// The slices of one Service, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices(List);

/// Most Services have one slice for each IP family: the first stands in place.
#[derive(Clone, Debug, PartialEq, Eq)]
enum List {
    One([Arc<Slice>; 1]),
    Several(Box<[Arc<Slice>]>),
}

impl Default for Slices {
    fn default() -> Self {
        Self(List::Several(Box::default()))
    }
}

impl Slices {
    fn list(&self) -> &[Arc<Slice>] {
        match &self.0 {
            List::One(one) => one,
            List::Several(list) => list,
        }
    }

    /// All of them in the order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, Arc<Slice>> {
        self.list().iter()
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list().is_empty()
    }

    /// The slice of this name.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<&Arc<Slice>> {
        self.position(name).ok().map(|at| &self.list()[at])
    }

    fn position(&self, name: &ServiceName) -> Result<usize, usize> {
        self.list().binary_search_by(|slice| slice.name.cmp(name))
    }

    /// Adds or replaces a slice. An equal one keeps its allocation, so that consumers may compare by pointer.
    pub(crate) fn insert(&mut self, slice: Slice) {
        match self.position(&slice.name) {
            Ok(at) if *self.list()[at] == slice => {}
            Ok(at) => self.edit(|slices| slices[at] = Arc::new(slice)),
            Err(at) => self.edit(|slices| slices.insert(at, Arc::new(slice))),
        }
    }

    pub(crate) fn remove(&mut self, name: &ServiceName) {
        if let Ok(at) = self.position(name) {
            self.edit(|slices| drop(slices.remove(at)));
        }
    }

    fn edit(&mut self, change: impl FnOnce(&mut Vec<Arc<Slice>>)) {
        let mut slices = Vec::with_capacity(self.list().len() + 1);
        slices.extend_from_slice(self.list());
        change(&mut slices);
        self.0 = match <[_; 1]>::try_from(slices) {
            Ok(one) => List::One(one),
            Err(slices) => List::Several(slices.into()),
        };
    }
}

impl<'a> IntoIterator for &'a Slices {
    type Item = &'a Arc<Slice>;
    type IntoIter = std::slice::Iter<'a, Arc<Slice>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Services and slices, joined by namespace and `kubernetes.io/service-name`. Cloning is O(1): versions share what is equal.
#[derive(Clone, Debug, Default)]
pub struct Services(Index<Joined>);

/// A Service with its name.
type Joined = (ServiceName, Arc<ServiceState>);

impl Record for Joined {
    type Key = ServiceName;

    fn key(&self) -> &ServiceName {
        &self.0
    }

    fn touch(&self) -> usize {
        usize::from(self.1.service.is_some())
    }
}

impl Services {
    /// The Service of this name.
    #[must_use]
    pub fn get(&self, name: &ServiceName) -> Option<&Arc<ServiceState>> {
        self.0.get(name).map(|(_, state)| state)
    }

    /// As [`Self::get`], with the name's own allocation.
    #[must_use]
    pub fn get_key_value(&self, name: &ServiceName) -> Option<(&ServiceName, &Arc<ServiceState>)> {
        self.0.get(name).map(|(name, state)| (name, state))
    }

    /// All of them in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceName, &Arc<ServiceState>)> {
        self.0.iter().map(|(name, state)| (name, state))
    }

    /// All names in no particular order.
    pub fn keys(&self) -> impl Iterator<Item = &ServiceName> {
        self.iter().map(|(name, _)| name)
    }

    pub(crate) fn insert(&mut self, name: ServiceName, state: Arc<ServiceState>) {
        self.0.insert((name, state));
    }

    pub(crate) fn remove(&mut self, name: &ServiceName) {
        self.0.remove(name);
    }
}

/// All of the model at one moment. Cloning is O(1): the maps share structure.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Services with their slices.
    pub services: Services,
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
