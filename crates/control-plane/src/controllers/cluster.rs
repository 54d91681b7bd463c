//! What the controllers know of the cluster: one cache for each watched kind, and the indexes between them.
//!
//! The caches are fed by the watches and by the answers to our own writes, so that a controller always sees
//! what it wrote ("expectations" of other controllers are not needed). Resource versions order the two
//! sources: an answer that the watch has already passed is dropped, and so is an event no newer than what is
//! held (KEP-5504 makes them integers). After a watch had to list anew, an answer newer than that list is
//! forgotten until its event arrives; the controllers correct whatever they do in between. Nothing here does
//! I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::node_lifecycle::NodeLife;
use super::object::{Key, Kind, Object, Target, Watched, controller_of, for_each_kind};

/// Label of an EndpointSlice that names its Service.
pub(crate) const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The objects of one kind.
#[derive(Debug)]
pub(crate) struct Store<K> {
    objects: BTreeMap<Key, Arc<K>>,
    /// The highest resource version that the watch of this kind has shown.
    watched_to: u64,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self { objects: BTreeMap::new(), watched_to: 0 }
    }
}

impl<K> Store<K> {
    pub(crate) fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }

    pub(crate) fn in_namespace<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<K>> {
        self.objects
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| key.namespace == namespace)
            .map(|(_, object)| object)
    }
}

/// One object before and after something happened to it.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) old: Option<Object>,
    pub(crate) new: Option<Object>,
}

impl Change {
    /// Old and new state as kind `K`; both are `None` if the change is of another kind.
    pub(crate) fn of<K: Watched>(&self) -> (Option<&Arc<K>>, Option<&Arc<K>>) {
        (self.old.as_ref().and_then(Object::get), self.new.as_ref().and_then(Object::get))
    }

    /// The states there are, old first.
    pub(crate) fn states(&self) -> impl Iterator<Item = &Object> {
        self.old.iter().chain(&self.new)
    }
}

/// Keys by something they share. An empty set is not kept.
#[derive(Debug)]
struct Index<T>(HashMap<String, BTreeSet<T>>);

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Ord + Clone> Index<T> {
    fn insert(&mut self, shared: &str, member: T) {
        self.0.entry(shared.to_owned()).or_default().insert(member);
    }

    fn remove(&mut self, shared: &str, member: &T) {
        if let Some(members) = self.0.get_mut(shared) {
            members.remove(member);
            if members.is_empty() {
                self.0.remove(shared);
            }
        }
    }

    fn get<'a>(&'a self, shared: &str) -> impl Iterator<Item = &'a T> + use<'a, T> {
        self.0.get(shared).into_iter().flatten()
    }
}

macro_rules! cluster {
    ($($name:ident => $field:ident),* $(,)?) => {
        /// All that is known.
        #[derive(Debug, Default)]
        pub(crate) struct Cluster {
            $(pub(super) $field: Store<k8s_types::$name>,)*
            pods_by_controller: Index<Key>,
            pods_by_node: Index<Key>,
            slices_by_service: Index<Key>,
            dependents: Index<Target>,
            /// Nodes of pods whose binding is on its way, by pod.
            assumed: HashMap<Key, String>,
            /// When each node last showed itself.
            pub(crate) node_life: NodeLife,
        }

        impl Cluster {
            /// An event of a watch: the object as it is now.
            pub(crate) fn observe(&mut self, object: Object) -> Option<Change> {
                match object { $(Object::$name(object) => self.apply(object, true)),* }
            }

            /// The answer to a write of ours.
            pub(crate) fn written(&mut self, object: Object) -> Option<Change> {
                match object { $(Object::$name(object) => self.apply(object, false)),* }
            }

            /// An event of a watch: the object is gone. It carries the version of its deletion.
            pub(crate) fn gone(&mut self, object: &Object) -> Option<Change> {
                match object { $(Object::$name(object) => self.delete(object)),* }
            }

            /// Replaces all objects of `kind` by what a watch has listed.
            pub(crate) fn relisted(&mut self, kind: Kind, objects: Vec<Object>) -> Vec<Change> {
                match kind { $(Kind::$name => self.replace::<k8s_types::$name>(objects)),* }
            }

            /// The object of any kind.
            pub(crate) fn object(&self, target: &Target) -> Option<Object> {
                match target.kind { $(Kind::$name => self.$field.get(&target.key).cloned().map(Object::$name)),* }
            }

            /// The state of an object, metadata only.
            pub(crate) fn meta(&self, target: &Target) -> Option<&ObjectMeta> {
                match target.kind { $(Kind::$name => self.$field.get(&target.key).map(|object| &object.metadata)),* }
            }
        }
    };
}

/// The types behind the kinds, under one path for the macro above.
mod k8s_types {
    pub(super) use k8s_openapi::api::apps::v1::*;
    pub(super) use k8s_openapi::api::coordination::v1::*;
    pub(super) use k8s_openapi::api::core::v1::*;
    pub(super) use k8s_openapi::api::discovery::v1::EndpointSlice;
}

for_each_kind!(cluster);

impl Cluster {
    /// The object of this kind and key.
    pub(crate) fn get<K: Watched>(&self, key: &Key) -> Option<&Arc<K>> {
        K::store(self).get(key)
    }

    /// Pods whose controller has this uid; those without a controller for the empty uid.
    pub(crate) fn pods_of<'a>(
        &'a self,
        controller_uid: &str,
    ) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        self.pods_by_controller.get(controller_uid).filter_map(|key| self.pods.get(key))
    }

    /// Pods bound to this node; unbound ones for the empty name.
    pub(crate) fn pods_on<'a>(&'a self, node: &str) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
        self.pods_by_node.get(node).filter_map(|key| self.pods.get(key))
    }

    /// EndpointSlices that name this Service, whoever made them.
    pub(crate) fn slices_of<'a>(
        &'a self,
        service: &Key,
    ) -> impl Iterator<Item = &'a Arc<EndpointSlice>> + use<'a> {
        self.slices_by_service.get(&joined(service)).filter_map(|key| self.endpoint_slices.get(key))
    }

    /// Objects that have an owner reference to this uid.
    pub(crate) fn dependents_of<'a>(&'a self, uid: &str) -> impl Iterator<Item = &'a Target> + use<'a> {
        self.dependents.get(uid)
    }

    /// Counts the pod as bound to `node` from now on, though the API has not confirmed it.
    pub(crate) fn assume(&mut self, pod: &Key, node: &str) {
        self.assumed.insert(pod.clone(), node.to_owned());
    }

    /// The binding has failed, or is now in the pod itself.
    pub(crate) fn forget_assumed(&mut self, pod: &Key) {
        self.assumed.remove(pod);
    }

    /// The binding has succeeded: the cache shows it before the watch does.
    pub(crate) fn bound(&mut self, key: &Key) -> Option<Change> {
        let node = self.assumed.remove(key)?;
        let mut pod = Pod::clone(self.pods.get(key)?);
        let spec = pod.spec.get_or_insert_default();
        if spec.node_name.as_deref().is_some_and(|name| !name.is_empty()) {
            return None;
        }
        spec.node_name = Some(node);
        self.insert(Arc::new(pod))
    }

    /// The node that a pod is bound to, or about to be.
    pub(crate) fn node_of<'a>(&'a self, pod: &'a Pod) -> Option<&'a str> {
        let bound =
            pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).filter(|name| !name.is_empty());
        bound.or_else(|| self.assumed.get(&Key::of(&pod.metadata)).map(String::as_str))
    }

    /// Pods whose binding is on its way, with their nodes.
    pub(crate) fn assumed(&self) -> impl Iterator<Item = (&Arc<Pod>, &str)> {
        self.assumed.iter().filter_map(|(key, node)| Some((self.pods.get(key)?, node.as_str())))
    }

    fn apply<K: Watched>(&mut self, object: Arc<K>, watched: bool) -> Option<Change> {
        let version = version_of(object.meta());
        let store = K::store_mut(self);
        if watched {
            store.watched_to = store.watched_to.max(version);
        } else if version != 0 && version <= store.watched_to {
            return None;
        }
        let held = store.objects.get(&Key::of(object.meta())).map_or(0, |held| version_of(held.meta()));
        if version != 0 && version <= held {
            return None;
        }
        self.insert(object)
    }

    fn insert<K: Watched>(&mut self, object: Arc<K>) -> Option<Change> {
        let key = Key::of(object.meta());
        let old = K::store_mut(self).objects.insert(key, object.clone()).map(K::wrap);
        let new = Some(K::wrap(object));
        let change = Change { old, new };
        self.reindex(&change);
        Some(change)
    }

    fn delete<K: Watched>(&mut self, object: &Arc<K>) -> Option<Change> {
        let version = version_of(object.meta());
        let store = K::store_mut(self);
        store.watched_to = store.watched_to.max(version);
        let key = Key::of(object.meta());
        if version_of(store.objects.get(&key)?.meta()) > version {
            return None;
        }
        let change = Change { old: store.objects.remove(&key).map(K::wrap), new: None };
        self.reindex(&change);
        Some(change)
    }

    fn replace<K: Watched>(&mut self, objects: Vec<Object>) -> Vec<Change> {
        let mut absent = std::mem::take(&mut K::store_mut(self).objects);
        let mut changes = Vec::with_capacity(objects.len());
        for object in objects.iter().filter_map(Object::get::<K>) {
            let old = absent.remove(&Key::of(object.meta())).map(K::wrap);
            let store = K::store_mut(self);
            store.watched_to = store.watched_to.max(version_of(object.meta()));
            store.objects.insert(Key::of(object.meta()), object.clone());
            changes.push(Change { old, new: Some(K::wrap(object.clone())) });
        }
        changes.extend(absent.into_values().map(|old| Change { old: Some(K::wrap(old)), new: None }));
        for change in &changes {
            self.reindex(change);
        }
        changes
    }

    fn reindex(&mut self, change: &Change) {
        if let Some(old) = &change.old {
            let target = old.target();
            for owner in old.meta().owner_references.iter().flatten() {
                self.dependents.remove(&owner.uid, &target);
            }
            self.index_by_kind(old, &target.key, |index, shared, key| index.remove(shared, key));
        }
        if let Some(new) = &change.new {
            let target = new.target();
            for owner in new.meta().owner_references.iter().flatten() {
                self.dependents.insert(&owner.uid, target.clone());
            }
            self.index_by_kind(new, &target.key, |index, shared, key| index.insert(shared, key.clone()));
        }
        if let (Some(Object::Pod(old)), None) = (&change.old, &change.new) {
            self.assumed.remove(&Key::of(&old.metadata));
        }
    }

    fn index_by_kind(&mut self, object: &Object, key: &Key, edit: impl Fn(&mut Index<Key>, &str, &Key)) {
        match object {
            Object::Pod(pod) => {
                let uid = controller_of(&pod.metadata).map_or("", |owner| owner.uid.as_str());
                edit(&mut self.pods_by_controller, uid, key);
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
                edit(&mut self.pods_by_node, node, key);
            }
            Object::EndpointSlice(slice) => {
                if let Some(service) = service_of(slice) {
                    edit(&mut self.slices_by_service, &joined(&service), key);
                }
            }
            _ => {}
        }
    }
}

/// The Service that an EndpointSlice names in its label.
pub(crate) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some(Key::new(slice.metadata.namespace.as_deref().unwrap_or_default(), name))
}

/// Namespaces and names hold no slash.
fn joined(key: &Key) -> String {
    format!("{}/{}", key.namespace, key.name)
}

/// The resource version as a number; 0, which never wins, for one that is not.
fn version_of(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
impl Cluster {
    /// A cluster that holds exactly these objects.
    pub(crate) fn of(objects: impl IntoIterator<Item = Object>) -> Self {
        let mut cluster = Self::default();
        for object in objects {
            cluster.observe(object);
        }
        cluster
    }
}

#[cfg(test)]
mod tests;
