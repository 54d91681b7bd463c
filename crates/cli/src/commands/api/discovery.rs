//! What the server serves, and how the names that users type find it.
//!
//! Asks for aggregated discovery (two requests) and falls back to the plain documents. The order is the server's own,
//! which decides both what `all` prints first and which group wins a shared name.

use serde_json::Value;

use super::{super::failure::Failure, JSON, Session, resource::Resource};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// The resource types of a server.
#[derive(Debug)]
pub(crate) struct Discovery {
    resources: Vec<Resource>,
}

impl Discovery {
    /// Asks the server.
    pub(crate) async fn read(session: &Session) -> Result<Self, Failure> {
        let mut resources = Vec::new();
        for root in ["/api", "/apis"] {
            let document = session.get(root, AGGREGATED).await?;
            if document["kind"] == "APIGroupDiscoveryList" {
                resources.extend(aggregated(&document));
            } else {
                for group_version in plain_group_versions(&document) {
                    let list = session.get(&format!("{root}/{group_version}"), JSON).await?;
                    resources.extend(plain(&list));
                }
            }
        }
        Ok(Self { resources })
    }

    /// All types, in the server's order.
    pub(crate) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The types that a word stands for: one, or all of a category.
    pub(crate) fn lookup(&self, word: &str) -> Result<Vec<Resource>, Failure> {
        if let Some(resource) = self.find(word) {
            return Ok(vec![resource.clone()]);
        }
        let of_category = |resource: &&Resource| resource.categories.iter().any(|category| category == word);
        let found: Vec<Resource> = self.resources.iter().filter(of_category).cloned().collect();
        if found.is_empty() {
            return Err(Failure::usage(format!("the server doesn't have a resource type {word:?}")));
        }
        Ok(found)
    }

    /// The one type that a word names: plural, singular, kind or short name, also as `deployments.apps` or
    /// `deployments.v1.apps`.
    pub(crate) fn find(&self, word: &str) -> Option<&Resource> {
        let word = word.to_lowercase();
        let (name, qualifier) = word.split_once('.').unwrap_or((&word, ""));
        let qualified = |resource: &Resource| {
            qualifier.is_empty()
                || qualifier == resource.group
                || qualifier == format!("{}.{}", resource.version, resource.group).trim_end_matches('.')
        };
        let named = |resource: &Resource| {
            resource.plural == name || resource.singular == name || resource.kind.to_lowercase() == name
        };
        let short = |resource: &Resource| resource.short_names.iter().any(|short| short == name);
        self.resources
            .iter()
            .find(|resource| named(resource) && qualified(resource))
            .or_else(|| self.resources.iter().find(|resource| short(resource) && qualified(resource)))
    }

    /// The type of an object in a manifest.
    pub(crate) fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.kind == kind && resource.api_version() == api_version)
    }
}

fn aggregated(document: &Value) -> Vec<Resource> {
    let mut found = Vec::new();
    for group in items(&document["items"]) {
        for version in items(&group["versions"]) {
            for entry in items(&version["resources"]) {
                found.push(Resource {
                    group: text(&group["metadata"]["name"]),
                    version: text(&version["version"]),
                    kind: text(&entry["responseKind"]["kind"]),
                    plural: text(&entry["resource"]),
                    singular: text(&entry["singularResource"]),
                    short_names: texts(&entry["shortNames"]),
                    categories: texts(&entry["categories"]),
                    verbs: texts(&entry["verbs"]),
                    namespaced: entry["scope"] == "Namespaced",
                });
            }
        }
    }
    found
}

fn plain_group_versions(document: &Value) -> Vec<String> {
    let of_groups = items(&document["groups"]).iter().flat_map(|group| items(&group["versions"]));
    let core = texts(&document["versions"]);
    core.into_iter().chain(of_groups.map(|version| text(&version["groupVersion"]))).collect()
}

fn plain(list: &Value) -> Vec<Resource> {
    let group_version = text(&list["groupVersion"]);
    let (group, version) = group_version.split_once('/').unwrap_or(("", &group_version));
    let top_level = |entry: &&Value| !text(&entry["name"]).contains('/');
    let entries = items(&list["resources"]).iter().filter(top_level);
    entries
        .map(|entry| Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: text(&entry["kind"]),
            plural: text(&entry["name"]),
            singular: text(&entry["singularName"]),
            short_names: texts(&entry["shortNames"]),
            categories: texts(&entry["categories"]),
            verbs: texts(&entry["verbs"]),
            namespaced: entry["namespaced"] == true,
        })
        .collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    items(value).iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn served() -> Discovery {
        let core = json!({"items": [{"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
            {"resource": "pods", "responseKind": {"kind": "Pod"}, "singularResource": "pod", "shortNames": ["po"],
             "scope": "Namespaced", "categories": ["all"]},
            {"resource": "events", "responseKind": {"kind": "Event"}, "singularResource": "event", "scope": "Namespaced"}]}]}]});
        let apps = json!({"groupVersion": "apps/v1", "resources": [
            {"name": "deployments", "kind": "Deployment", "singularName": "deployment", "shortNames": ["deploy"],
             "namespaced": true, "categories": ["all"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": true}]});
        Discovery { resources: aggregated(&core).into_iter().chain(plain(&apps)).collect() }
    }

    #[test]
    fn words_find_their_types() {
        let cases = [
            ("po", Some("pods")),
            ("Pod", Some("pods")),
            ("deploy", Some("deployments")),
            ("deployment.apps", Some("deployments")),
            ("deployments.v1.apps", Some("deployments")),
            ("deployments.v1beta1.apps", None),
            ("pods.v1", Some("pods")),
            ("scale", None),
        ];
        for (word, expected) in cases {
            assert_eq!(served().find(word).map(|found| found.plural.as_str()), expected, "{word}");
        }
        let all: Vec<String> =
            served().lookup("all").unwrap().into_iter().map(|found| found.plural).collect();
        assert_eq!(all, ["pods", "deployments"]);
        let error = served().lookup("nope").unwrap_err().to_string();
        assert_eq!(error, "error: the server doesn't have a resource type \"nope\"");
    }
}
