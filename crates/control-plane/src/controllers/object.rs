//! The kinds that the controllers watch, as one closed set.
//!
//! Every other file names kinds through [`Kind`], [`Object`] and the [`Watched`] trait, so that a new kind is
//! one line here. Nothing in this file does I/O; how an object travels over HTTP (its path and its bytes) is
//! all it knows.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Endpoints, Namespace, Node, ObjectReference, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource;

use super::cluster::{Cluster, Store};

/// Namespace (empty for cluster-scoped kinds) and name: the identity of an object within its kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(meta: &ObjectMeta) -> Self {
        Self::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default())
    }
}

/// A key together with its kind: what the work queue and the garbage collector hold.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) kind: Kind,
    pub(crate) key: Key,
}

/// A kind that the controllers watch.
pub(crate) trait Watched: Resource<DynamicType = ()> + Sized {
    /// Its place in the closed set.
    const KIND: Kind;
    /// Its cache.
    fn store(cluster: &Cluster) -> &Store<Self>;
    /// Its cache, to write.
    fn store_mut(cluster: &mut Cluster) -> &mut Store<Self>;
    /// The object, as one of the set.
    fn wrap(object: Arc<Self>) -> Object;
    /// The object again, if it is of this kind.
    fn unwrap(object: &Object) -> Option<&Arc<Self>>;
}

macro_rules! watched_kinds {
    ($($name:ident => $field:ident),* $(,)?) => {
        /// One of the watched kinds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub(crate) enum Kind { $($name),* }

        /// An object of one of the watched kinds.
        #[derive(Clone, Debug)]
        pub(crate) enum Object { $($name(Arc<$name>)),* }

        impl Kind {
            pub(crate) const ALL: &'static [Kind] = &[$(Kind::$name),*];

            /// The kind of this API version and name, as an owner reference gives them.
            pub(crate) fn named(api_version: &str, kind: &str) -> Option<Kind> {
                $(if kind == stringify!($name) && api_version == $name::api_version(&()) { return Some(Kind::$name) })*
                None
            }

            /// Path of the collection in `namespace` (or of all, if that is empty).
            pub(crate) fn path(self, namespace: &str) -> String {
                let namespace = Some(namespace).filter(|namespace| !namespace.is_empty());
                match self { $(Kind::$name => $name::url_path(&(), namespace)),* }
            }

            /// API version and kind, as references to objects carry them.
            pub(crate) fn type_names(self) -> (String, &'static str) {
                match self { $(Kind::$name => ($name::api_version(&()).into_owned(), stringify!($name))),* }
            }

            /// Decodes one object of this kind; fails for another kind, such as a Status.
            pub(crate) fn decode(self, text: &str) -> serde_json::Result<Object> {
                let mut object = match self {
                    $(Kind::$name => serde_json::from_str(text).map(|object| Object::$name(Arc::new(object)))),*
                }?;
                object.meta_mut().managed_fields = None;
                Ok(object)
            }
        }

        impl Object {
            pub(crate) fn kind(&self) -> Kind {
                match self { $(Object::$name(_) => Kind::$name),* }
            }

            pub(crate) fn meta(&self) -> &ObjectMeta {
                match self { $(Object::$name(object) => &object.metadata),* }
            }

            pub(crate) fn meta_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Object::$name(object) => &mut Arc::make_mut(object).metadata),* }
            }

            /// The bytes of a request that carries this object.
            pub(crate) fn encode(&self) -> serde_json::Result<Vec<u8>> {
                match self { $(Object::$name(object) => serde_json::to_vec(&**object)),* }
            }
        }

        $(impl Watched for $name {
            const KIND: Kind = Kind::$name;
            fn store(cluster: &Cluster) -> &Store<Self> { &cluster.$field }
            fn store_mut(cluster: &mut Cluster) -> &mut Store<Self> { &mut cluster.$field }
            fn wrap(object: Arc<Self>) -> Object { Object::$name(object) }
            fn unwrap(object: &Object) -> Option<&Arc<Self>> {
                if let Object::$name(object) = object { Some(object) } else { None }
            }
        })*

        /// Calls the macro `$then` with the list of kinds and the names of their caches.
        macro_rules! for_each_kind { ($then:ident) => { $then! { $($name => $field),* } } }
        pub(crate) use for_each_kind;
    };
}

watched_kinds! {
    Namespace => namespaces,
    Node => nodes,
    Pod => pods,
    Service => services,
    Endpoints => endpoints,
    EndpointSlice => endpoint_slices,
    Deployment => deployments,
    ReplicaSet => replica_sets,
    ServiceAccount => service_accounts,
    ConfigMap => config_maps,
    Secret => secrets,
    Lease => leases,
}

impl Object {
    pub(crate) fn new<K: Watched>(object: K) -> Self {
        K::wrap(Arc::new(object))
    }

    pub(crate) fn target(&self) -> Target {
        Target { kind: self.kind(), key: Key::of(self.meta()) }
    }

    /// The object as type `K`, if it is one.
    pub(crate) fn get<K: Watched>(&self) -> Option<&Arc<K>> {
        K::unwrap(self)
    }
}

/// The reference that makes `owner` the controller of a dependent.
pub(crate) fn controller_reference<K: Watched>(owner: &K) -> OwnerReference {
    let (api_version, kind) = K::KIND.type_names();
    OwnerReference {
        api_version,
        kind: kind.to_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// The owner reference that is the controller, if there is one.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.as_deref()?.iter().find(|owner| owner.controller == Some(true))
}

/// A full reference to `object`, as Events and endpoint targets carry it.
pub(crate) fn reference<K: Watched>(object: &K) -> ObjectReference {
    let (api_version, kind) = K::KIND.type_names();
    let meta = object.meta();
    ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind.to_owned()),
        namespace: meta.namespace.clone(),
        name: meta.name.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}
