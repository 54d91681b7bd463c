//! One resource type as the server's discovery describes it, and the paths of its objects.

use super::query::encode;

/// A resource type of the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Resource {
    /// API group, empty for core.
    pub(crate) group: String,
    /// Version within the group.
    pub(crate) version: String,
    /// Kind of its objects.
    pub(crate) kind: String,
    /// Plural name, as in paths.
    pub(crate) plural: String,
    /// Singular name.
    pub(crate) singular: String,
    /// Short names, `svc`.
    pub(crate) short_names: Vec<String>,
    /// Categories, `all`.
    pub(crate) categories: Vec<String>,
    /// Verbs the server allows.
    pub(crate) verbs: Vec<String>,
    /// Whether objects live in a namespace.
    pub(crate) namespaced: bool,
}

impl Resource {
    /// A resource that needs no discovery because every server has it.
    pub(crate) fn fixed(group: &str, kind: &str, plural: &str, namespaced: bool) -> Self {
        Self {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            namespaced,
            ..Self::default()
        }
    }

    /// `apps/v1`, or `v1` for core.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`: the resource as messages name it.
    pub(crate) fn qualified_plural(&self) -> String {
        qualify(&self.plural, &self.group)
    }

    /// `deployment.apps`: the prefix of names in tables and `-o name`.
    pub(crate) fn qualified_kind(&self) -> String {
        qualify(&self.kind.to_lowercase(), &self.group)
    }

    /// The collection's path; `None` lists over all namespaces.
    pub(crate) fn collection(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", encode(namespace), self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// One object's path.
    pub(crate) fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(Some(namespace)), encode(name))
    }
}

fn qualify(name: &str, group: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}
