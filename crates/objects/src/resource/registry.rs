//! The table behind [`super`]: one entry for each resource, in the order in which kubectl lists them.
//!
//! Short names, categories and verbs are those of the real API server, from its discovery documents. Kinds that are
//! marked quiet exist so that `kubectl describe` and `kubectl get all` find an empty list instead of a 404.

use super::{ALL_VERBS, DeletionReply, Resource, Subresource};

const READ_WRITE: &[&str] = &["get", "patch", "update"];
const GET: &[&str] = &["get"];
const CREATE: &[&str] = &["create"];
const STREAM: &[&str] = &["create", "get"];

/// What an entry does not say is as here.
const BASE: Resource = Resource {
    group: "",
    version: "v1",
    kind: "",
    plural: "",
    singular: "",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: ALL_VERBS,
    subresources: &[],
    storage: "",
    deletion: DeletionReply::Status,
    generation: false,
};

const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
    Subresource { name: "status", group, version, kind, verbs: READ_WRITE }
}

const fn scale() -> Subresource {
    Subresource { name: "scale", group: "autoscaling", version: "v1", kind: "Scale", verbs: READ_WRITE }
}

const fn core(name: &'static str, kind: &'static str, verbs: &'static [&'static str]) -> Subresource {
    Subresource { name, group: "", version: "v1", kind, verbs }
}

/// Every resource that is served.
pub static RESOURCES: &[Resource] = &[
    Resource {
        kind: "ConfigMap",
        plural: "configmaps",
        singular: "configmap",
        short_names: &["cm"],
        storage: "configmaps",
        ..BASE
    },
    Resource {
        kind: "Endpoints",
        plural: "endpoints",
        singular: "endpoints",
        short_names: &["ep"],
        storage: "endpoints",
        ..BASE
    },
    Resource {
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        storage: "events",
        ..BASE
    },
    Resource {
        kind: "LimitRange",
        plural: "limitranges",
        singular: "limitrange",
        short_names: &["limits"],
        storage: "limitranges",
        ..BASE
    },
    Resource {
        kind: "Namespace",
        plural: "namespaces",
        singular: "namespace",
        short_names: &["ns"],
        namespaced: false,
        subresources: &[
            Subresource { name: "finalize", group: "", version: "v1", kind: "Namespace", verbs: &["update"] },
            status("", "v1", "Namespace"),
        ],
        storage: "namespaces",
        ..BASE
    },
    Resource {
        kind: "Node",
        plural: "nodes",
        singular: "node",
        short_names: &["no"],
        namespaced: false,
        subresources: &[status("", "v1", "Node")],
        storage: "nodes",
        ..BASE
    },
    Resource {
        kind: "Pod",
        plural: "pods",
        singular: "pod",
        short_names: &["po"],
        categories: &["all"],
        subresources: &[
            core("binding", "Binding", CREATE),
            core("exec", "PodExecOptions", STREAM),
            core("log", "Pod", GET),
            status("", "v1", "Pod"),
        ],
        storage: "pods",
        deletion: DeletionReply::Object,
        generation: true,
        ..BASE
    },
    Resource {
        kind: "ReplicationController",
        plural: "replicationcontrollers",
        singular: "replicationcontroller",
        short_names: &["rc"],
        categories: &["all"],
        subresources: &[scale(), status("", "v1", "ReplicationController")],
        storage: "replicationcontrollers",
        generation: true,
        ..BASE
    },
    Resource {
        kind: "ResourceQuota",
        plural: "resourcequotas",
        singular: "resourcequota",
        short_names: &["quota"],
        subresources: &[status("", "v1", "ResourceQuota")],
        storage: "resourcequotas",
        deletion: DeletionReply::Object,
        ..BASE
    },
    Resource { kind: "Secret", plural: "secrets", singular: "secret", storage: "secrets", ..BASE },
    Resource {
        kind: "ServiceAccount",
        plural: "serviceaccounts",
        singular: "serviceaccount",
        short_names: &["sa"],
        storage: "serviceaccounts",
        deletion: DeletionReply::Object,
        ..BASE
    },
    Resource {
        kind: "Service",
        plural: "services",
        singular: "service",
        short_names: &["svc"],
        categories: &["all"],
        subresources: &[status("", "v1", "Service")],
        storage: "services",
        deletion: DeletionReply::Object,
        ..BASE
    },
    Resource {
        group: "apps",
        kind: "Deployment",
        plural: "deployments",
        singular: "deployment",
        short_names: &["deploy"],
        categories: &["all"],
        subresources: &[scale(), status("apps", "v1", "Deployment")],
        storage: "deployments",
        generation: true,
        ..BASE
    },
    Resource {
        group: "apps",
        kind: "ReplicaSet",
        plural: "replicasets",
        singular: "replicaset",
        short_names: &["rs"],
        categories: &["all"],
        subresources: &[scale(), status("apps", "v1", "ReplicaSet")],
        storage: "replicasets",
        generation: true,
        ..BASE
    },
    Resource {
        group: "events.k8s.io",
        kind: "Event",
        plural: "events",
        singular: "event",
        short_names: &["ev"],
        storage: "events",
        ..BASE
    },
    Resource {
        group: "networking.k8s.io",
        kind: "IPAddress",
        plural: "ipaddresses",
        singular: "ipaddress",
        short_names: &["ip"],
        namespaced: false,
        storage: "ipaddresses",
        ..BASE
    },
    Resource {
        group: "networking.k8s.io",
        kind: "ServiceCIDR",
        plural: "servicecidrs",
        singular: "servicecidr",
        namespaced: false,
        subresources: &[status("networking.k8s.io", "v1", "ServiceCIDR")],
        storage: "servicecidrs",
        ..BASE
    },
    Resource {
        group: "coordination.k8s.io",
        kind: "Lease",
        plural: "leases",
        singular: "lease",
        storage: "leases",
        ..BASE
    },
    Resource {
        group: "discovery.k8s.io",
        kind: "EndpointSlice",
        plural: "endpointslices",
        singular: "endpointslice",
        storage: "endpointslices",
        generation: true,
        ..BASE
    },
];
