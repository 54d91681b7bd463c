//! Paths to what they mean.

use objects::resource::{self, Resource, Subresource};
use percent_encoding::percent_decode_str;

/// What a path means.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route {
    /// `/`: the list of paths.
    Root,
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(String),
    /// `/api/v1`, `/apis/GROUP/VERSION`.
    GroupVersion(String, String),
    /// `/openapi/v3`.
    OpenApiIndex,
    /// `/openapi/v3/…`: the document of a group and version.
    OpenApiDocument(String, String),
    /// `/openapi/v2`, for old clients.
    OpenApiV2,
    /// What the API of Kubernetes has below an object and we do not, by its name.
    NotYet(String),
    /// Objects.
    Objects(Target),
}

/// A collection, an object or what is below an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) resource: &'static Resource,
    /// None: all namespaces, or the resource has none.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) subresource: Option<&'static Subresource>,
    /// The old form of a watch, `/api/v1/watch/…`.
    pub(super) watch: bool,
}

impl Target {
    /// The namespace's name; empty for what has none.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }

    /// The object's name; empty for a collection.
    pub(super) fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// None: there is no such path.
pub(super) fn parse(path: &str) -> Option<Route> {
    let segments: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8().map(|s| s.into_owned()))
        .collect::<Result<_, _>>()
        .ok()?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        [""] => Some(Route::Root),
        ["api"] => Some(Route::CoreVersions),
        ["apis"] => Some(Route::Groups),
        ["openapi", "v2"] => Some(Route::OpenApiV2),
        ["openapi", "v3"] => Some(Route::OpenApiIndex),
        ["openapi", "v3", "api", version] => document("", version),
        ["openapi", "v3", "apis", group, version] => document(group, version),
        ["api", version] => served("", version),
        ["apis", group] => is_group(group).then(|| Route::Group((*group).to_owned())),
        ["apis", group, version] => served(group, version),
        ["api", version, rest @ ..] => objects("", version, rest),
        ["apis", group, version, rest @ ..] => objects(group, version, rest),
        _ => None,
    }
}

fn is_group(group: &str) -> bool {
    !group.is_empty() && resource::group_versions().iter().any(|(g, _)| *g == group)
}

fn is_served(group: &str, version: &str) -> bool {
    resource::group_versions().contains(&(group, version))
}

fn served(group: &str, version: &str) -> Option<Route> {
    is_served(group, version).then(|| Route::GroupVersion(group.to_owned(), version.to_owned()))
}

fn document(group: &str, version: &str) -> Option<Route> {
    is_served(group, version).then(|| Route::OpenApiDocument(group.to_owned(), version.to_owned()))
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Option<Route> {
    let (watch, rest) = match rest {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        rest => (false, rest),
    };
    let (namespace, rest) = match rest {
        // Below a namespace's name is a resource, unless it is one of the namespace's own subresources.
        ["namespaces", namespace, inner @ ..] if !inner.is_empty() && !is_of_namespace(inner) => {
            (Some((*namespace).to_owned()), inner)
        }
        rest => (None, rest),
    };
    let (plural, below) = rest.split_first()?;
    let resource = resource::by_plural(group, version, plural)?;
    if (namespace.is_some() && !resource.namespaced) || below.iter().any(|segment| segment.is_empty()) {
        return None;
    }
    let (name, subresource) = match below {
        [] => (None, None),
        [name] => (Some((*name).to_owned()), None),
        [_, sub] if is_not_yet(plural, sub) => return Some(Route::NotYet(format!("{plural}/{sub}"))),
        [name, sub] => (Some((*name).to_owned()), Some(resource.subresource(sub)?)),
        _ => return None,
    };
    // An object of a namespace cannot be named without the namespace.
    if resource.namespaced && namespace.is_none() && name.is_some() {
        return None;
    }
    Some(Route::Objects(Target { resource, namespace, name, subresource, watch }))
}

/// Clients that people use daily ask for these without looking into discovery; they should be told more than "not found".
fn is_not_yet(plural: &str, subresource: &str) -> bool {
    match plural {
        "pods" => {
            matches!(subresource, "attach" | "portforward" | "eviction" | "ephemeralcontainers" | "resize")
        }
        "serviceaccounts" => subresource == "token",
        _ => false,
    }
}

fn is_of_namespace(inner: &[&str]) -> bool {
    matches!(inner, ["status" | "finalize"])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `plural ns/name sub`.
    fn summary(path: &str) -> Option<String> {
        match parse(path)? {
            Route::Objects(t) => {
                let sub = t.subresource.map_or("-", |s| s.name);
                let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
                Some(format!(
                    "{} {}/{} {sub}",
                    t.resource.qualified(),
                    or_dash(&t.namespace),
                    or_dash(&t.name)
                ))
            }
            other => Some(format!("{other:?}")),
        }
    }

    #[test]
    fn paths_mean_what_they_do_upstream() {
        let cases = [
            ("/", Some("Root")),
            ("/api", Some("CoreVersions")),
            ("/apis/", Some("Groups")),
            ("/apis/apps", Some("Group(\"apps\")")),
            ("/apis/nope", None),
            ("/api/v1", Some("GroupVersion(\"\", \"v1\")")),
            ("/api/v2", None),
            ("/api/v1/pods", Some("pods -/- -")),
            ("/api/v1/namespaces", Some("namespaces -/- -")),
            ("/api/v1/namespaces/x", Some("namespaces -/x -")),
            ("/api/v1/namespaces/x/status", Some("namespaces -/x status")),
            ("/api/v1/namespaces/x/pods", Some("pods x/- -")),
            ("/api/v1/namespaces/x/pods/p", Some("pods x/p -")),
            ("/api/v1/namespaces/x/pods/p/log", Some("pods x/p log")),
            ("/api/v1/namespaces/x/pods/p/nope", None),
            ("/api/v1/namespaces/x/nodes/n", None),
            ("/api/v1/nodes/n", Some("nodes -/n -")),
            ("/api/v1/pods/p", None),
            ("/apis/apps/v1/namespaces/x/deployments/d/scale", Some("deployments.apps x/d scale")),
            ("/apis/apps/v1/namespaces/x/deployments/a%2Fb", Some("deployments.apps x/a/b -")),
            ("/api/v1/watch/pods", Some("pods -/- -")),
            ("/apis/apps/v1/widgets", None),
            ("/nope", None),
            ("/api/v1/namespaces/x/pods/p/portforward", Some("NotYet(\"pods/portforward\")")),
        ];
        for (path, expected) in cases {
            assert_eq!(summary(path).as_deref(), expected, "{path}");
        }
    }
}
