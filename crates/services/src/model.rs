//! The one mutable thing of the crate: applies objects, remembers which keys they changed, hands out snapshots.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;

use crate::intern::Interner;
use crate::read::{Reader, Skipped, object_name, read_node};
use crate::{Changes, ServiceName, ServiceState, Snapshot};

/// Label that joins a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// What a model keeps of endpoints beside addresses, conditions, host names and ports. What nobody reads need not take up
/// memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detail {
    /// Nodes, zones and hints: for a proxy.
    pub placement: bool,
    /// Names of pods: for explanations, and for DNS that names endpoints after them.
    pub pods: bool,
}

impl Default for Detail {
    /// Everything.
    fn default() -> Self {
        Self { placement: true, pods: true }
    }
}

/// Joins Services, EndpointSlices, Nodes and Namespaces. Applying an object twice is no change; order never matters.
#[derive(Debug, Default)]
pub struct Model {
    snapshot: Snapshot,
    changes: Changes,
    /// The Service that a slice belongs to, by the slice's name: a DELETE names only the slice, and a slice may be
    /// relabelled to another Service. The names are those of the snapshot, not copies.
    owners: HashMap<ServiceName, ServiceName>,
    interner: Interner,
    detail: Detail,
}

impl Model {
    /// An empty model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty model that keeps no more than this of endpoints.
    #[must_use]
    pub fn keeping(detail: Detail) -> Self {
        Self { detail, ..Self::default() }
    }

    /// The state as of now. O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// The keys changed since the last call, which are thereby forgotten.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Adds or replaces a Service.
    ///
    /// # Errors
    /// [`Skipped`] when the object cannot be understood; the Service then counts as absent.
    pub fn apply_service(&mut self, object: &core::Service) -> Result<(), Skipped> {
        let name = object_name("Service", &object.metadata)?;
        match Reader::new(&mut self.interner, self.detail).service(&name, object) {
            Ok(service) => {
                self.edit(&name, |state| state.service = Some(service));
                Ok(())
            }
            Err(skipped) => {
                self.delete_service(&name);
                Err(skipped)
            }
        }
    }

    /// Removes a Service; its slices stay until they are deleted themselves.
    pub fn delete_service(&mut self, name: &ServiceName) {
        self.edit(name, |state| state.service = None);
    }

    /// Adds or replaces an EndpointSlice. A slice of no Service, or of FQDNs, is as good as none.
    ///
    /// # Errors
    /// [`Skipped`] when the object cannot be understood; the slice then counts as absent.
    pub fn apply_slice(&mut self, object: &discovery::EndpointSlice) -> Result<(), Skipped> {
        let name = object_name("EndpointSlice", &object.metadata)?;
        let name = self.owners.get_key_value(&name).map_or(name, |(known, _)| known.clone());
        let slice = match Reader::new(&mut self.interner, self.detail).slice(&name, object) {
            Ok(slice) => slice,
            Err(skipped) => {
                self.delete_slice(&name);
                return Err(skipped);
            }
        };
        let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME_LABEL));
        let owner = label.map(|service| ServiceName::new(name.namespace(), service));
        if self.owners.get(&name) != owner.as_ref() {
            self.delete_slice(&name);
        }
        if let Some(owner) = owner {
            let owner = self.edit(&owner, |state| state.slices.insert(slice));
            self.owners.insert(name, owner);
        }
        Ok(())
    }

    /// Removes the EndpointSlice of this namespace and name.
    pub fn delete_slice(&mut self, name: &ServiceName) {
        if let Some(owner) = self.owners.remove(name) {
            self.edit(&owner, |state| state.slices.remove(name));
        }
    }

    /// Adds or replaces a Node. Addresses and CIDRs that do not parse are left out: the rest is of use.
    pub fn apply_node(&mut self, object: &core::Node) {
        let Some(name) = object.metadata.name.as_deref() else { return };
        let node = read_node(object);
        if self.snapshot.nodes.get(name).is_none_or(|old| **old != node) {
            let name: Arc<str> = name.into();
            self.snapshot.nodes.insert_mut(Arc::clone(&name), Arc::new(node));
            self.changes.nodes.insert(name);
        }
    }

    /// Removes a Node.
    pub fn delete_node(&mut self, name: &str) {
        if self.snapshot.nodes.remove_mut(name) {
            self.changes.nodes.insert(name.into());
        }
    }

    /// Adds a Namespace.
    pub fn apply_namespace(&mut self, name: &str) {
        if !self.snapshot.namespaces.contains(name) {
            let name: Arc<str> = name.into();
            self.snapshot.namespaces.insert_mut(Arc::clone(&name));
            self.changes.namespaces.insert(name);
        }
    }

    /// Removes a Namespace.
    pub fn delete_namespace(&mut self, name: &str) {
        if self.snapshot.namespaces.remove_mut(name) {
            self.changes.namespaces.insert(name.into());
        }
    }

    /// Names of all slices that are known, for the comparison with a new list.
    pub fn slice_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.owners.keys()
    }

    /// Changes one state, drops it when empty, and notes the key only if something differs. Returns the snapshot's own key
    /// where it has one.
    fn edit(&mut self, name: &ServiceName, change: impl FnOnce(&mut ServiceState)) -> ServiceName {
        let known = self.snapshot.services.get_key_value(name);
        let (name, old) = known.map_or((name.clone(), None), |(name, state)| (name.clone(), Some(state)));
        let mut state = old.map(|state| ServiceState::clone(state)).unwrap_or_default();
        change(&mut state);
        let empty = state.service.is_none() && state.slices.is_empty();
        match old {
            None if empty => return name,
            Some(old) if **old == state => return name,
            _ => {}
        }
        if empty {
            self.snapshot.services.remove(&name);
        } else {
            self.snapshot.services.insert(name.clone(), Arc::new(state));
        }
        self.changes.services.insert(name.clone());
        name
    }
}
