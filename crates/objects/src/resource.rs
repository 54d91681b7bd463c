//! The registry of resources: every kind that the API serves, its names, scope, verbs and subresources.
//!
//! Discovery, routing, storage keys, printing and the commands' argument parsing all read this one table, so a kind is
//! added in one place. It holds no behaviour of a kind: defaults, validation and admission live elsewhere and match on
//! [`Resource::kind`].

mod registry;

pub use registry::RESOURCES;

/// Verbs of a resource that can be stored, listed and watched.
pub const ALL_VERBS: &[&str] =
    &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// One resource of one group and version, as discovery describes it.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version, such as `v1`.
    pub version: &'static str,
    /// Kind, such as `Deployment`.
    pub kind: &'static str,
    /// Plural name, the one in paths: `deployments`.
    pub plural: &'static str,
    /// Singular name: `deployment`.
    pub singular: &'static str,
    /// Abbreviations that users type: `deploy`.
    pub short_names: &'static [&'static str],
    /// Categories that the resource is listed under: `all`.
    pub categories: &'static [&'static str],
    /// True if its objects live in a namespace.
    pub namespaced: bool,
    /// What a client may do with it.
    pub verbs: &'static [&'static str],
    /// Paths below an object.
    pub subresources: &'static [Subresource],
    /// Name under which objects are stored; two groups that serve the same objects (events) share it.
    pub storage: &'static str,
    /// What a DELETE answers with.
    pub deletion: DeletionReply,
    /// True if `metadata.generation` counts the changes of the spec.
    pub generation: bool,
}

/// A path below an object, such as `deployments/scale`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subresource {
    /// Last part of the path.
    pub name: &'static str,
    /// Group of the kind that it speaks; equals the parent's for `status`.
    pub group: &'static str,
    /// Version of the kind that it speaks.
    pub version: &'static str,
    /// Kind that it speaks.
    pub kind: &'static str,
    /// What a client may do with it.
    pub verbs: &'static [&'static str],
}

/// The body of a successful DELETE. Typed clients decode one or the other and fail on the wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeletionReply {
    /// The object as it was last.
    Object,
    /// A `Status` of success.
    Status,
}

impl Resource {
    /// `apiVersion` of its objects: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        join_group(self.group, self.version)
    }

    /// The name that messages use: `services`, `deployments.apps`.
    pub fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Path of the group and version: `/api/v1`, `/apis/apps/v1`.
    pub fn version_path(&self) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        format!("{root}/{}", self.api_version())
    }

    /// Path of the collection, in a namespace if one is given and the resource has them.
    pub fn collection_path(&self, namespace: Option<&str>) -> String {
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{}/namespaces/{namespace}/{}", self.version_path(), self.plural),
            None => format!("{}/{}", self.version_path(), self.plural),
        }
    }

    /// Path of one object.
    pub fn object_path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{name}", self.collection_path(namespace))
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// True if clients can store objects of it.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }
}

/// `v1` or `apps/v1`.
pub fn join_group(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The resource behind `/apis/GROUP/VERSION/PLURAL`.
pub fn by_plural(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The resource of an object's `apiVersion` and `kind`.
pub fn by_kind(api_version: &str, kind: &str) -> Option<&'static Resource> {
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    RESOURCES.iter().find(|r| r.group == group && r.version == version && r.kind == kind)
}

/// The resource that a user means by `po`, `pod`, `Pods`, `deployments.apps` or `deployments.v1.apps`. Where two groups
/// serve the name, the first in the registry wins, as with kubectl.
pub fn find(typed: &str) -> Option<&'static Resource> {
    let typed = typed.to_ascii_lowercase();
    let (name, rest) = typed.split_once('.').map_or((typed.as_str(), None), |(n, r)| (n, Some(r)));
    RESOURCES.iter().find(|r| answers_to(r, name) && rest.is_none_or(|rest| is_group(r, rest)))
}

fn answers_to(resource: &Resource, name: &str) -> bool {
    resource.plural == name
        || resource.singular == name
        || resource.short_names.contains(&name)
        || resource.kind.eq_ignore_ascii_case(name)
}

fn is_group(resource: &Resource, rest: &str) -> bool {
    rest == resource.group
        || rest.strip_prefix(resource.version).is_some_and(|g| g.trim_start_matches('.') == resource.group)
}

/// The resources that a user means by one word: a category such as `all`, or a single resource.
pub fn find_all(typed: &str) -> Vec<&'static Resource> {
    let category: Vec<_> = RESOURCES.iter().filter(|r| r.categories.contains(&typed)).collect();
    if category.is_empty() { find(typed).into_iter().collect() } else { category }
}

/// Group and version pairs that are served, in discovery's order (core first).
pub fn group_versions() -> Vec<(&'static str, &'static str)> {
    let mut seen = Vec::new();
    for resource in RESOURCES {
        if !seen.contains(&(resource.group, resource.version)) {
            seen.push((resource.group, resource.version));
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_find_resources_by_any_of_their_names() {
        let cases = [
            ("po", Some("Pod")),
            ("Pods", Some("Pod")),
            ("deploy", Some("Deployment")),
            ("deployments.apps", Some("Deployment")),
            ("deployments.v1.apps", Some("Deployment")),
            ("deployments.batch", None),
            ("svc", Some("Service")),
            ("ep", Some("Endpoints")),
            ("endpointslices", Some("EndpointSlice")),
            ("ns", Some("Namespace")),
            ("events.events.k8s.io", Some("Event")),
            ("widgets", None),
        ];
        for (typed, kind) in cases {
            assert_eq!(find(typed).map(|r| r.kind), kind, "{typed}");
        }
    }

    #[test]
    fn all_is_a_category() {
        let kinds: Vec<_> = find_all("all").iter().map(|r| r.kind).collect();
        assert_eq!(kinds, ["Pod", "ReplicationController", "Service", "Deployment", "ReplicaSet"]);
        assert_eq!(find_all("svc").len(), 1);
    }

    #[test]
    fn paths_and_names() {
        let deployments = by_kind("apps/v1", "Deployment").unwrap();
        assert_eq!(
            deployments.object_path(Some("default"), "x"),
            "/apis/apps/v1/namespaces/default/deployments/x"
        );
        assert_eq!(deployments.qualified(), "deployments.apps");
        let nodes = by_plural("", "v1", "nodes").unwrap();
        assert_eq!(nodes.object_path(Some("ignored"), "n"), "/api/v1/nodes/n");
    }
}
