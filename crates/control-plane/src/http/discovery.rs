//! Discovery: which groups, versions and resources there are, as single documents and aggregated (KEP-3352).
//!
//! Everything comes from the registry of [`objects::resource`], so it never disagrees with what is served.

use objects::resource::{RESOURCES, Resource, Subresource, group_versions, join_group};
use serde_json::{Value, json};

/// `/`: the paths.
pub(super) fn root() -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (group, version) in group_versions().into_iter().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.extend(
        ["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"].map(str::to_owned),
    );
    json!({"paths": paths})
}

/// `/api`.
pub(super) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub(super) fn groups() -> Value {
    let groups: Vec<Value> =
        group_versions().into_iter().filter(|(g, _)| !g.is_empty()).map(|(g, v)| group_of(g, v)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(super) fn group(name: &str) -> Value {
    let version = group_versions().into_iter().find(|(g, _)| *g == name).map_or("v1", |(_, v)| v);
    let mut group = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(group), Value::Object(fields)) = (group.as_object_mut(), group_of(name, version)) {
        group.extend(fields);
    }
    group
}

fn group_of(group: &str, version: &str) -> Value {
    let version = json!({"groupVersion": join_group(group, version), "version": version});
    json!({"name": group, "versions": [version], "preferredVersion": version})
}

fn of_version<'a>(group: &'a str, version: &'a str) -> impl Iterator<Item = &'static Resource> + use<'a> {
    RESOURCES.iter().filter(move |r| r.group == group && r.version == version)
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub(super) fn resources(group: &str, version: &str) -> Value {
    let mut list = Vec::new();
    for resource in of_version(group, version) {
        list.push(plain_resource(resource));
        list.extend(resource.subresources.iter().map(|sub| plain_subresource(resource, sub)));
    }
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": join_group(group, version),
        "resources": list,
    })
}

fn plain_resource(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": resource.verbs,
    });
    names_into(&mut entry, resource);
    entry
}

fn names_into(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
}

fn plain_subresource(resource: &Resource, sub: &Subresource) -> Value {
    let mut entry = json!({
        "name": format!("{}/{}", resource.plural, sub.name),
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.kind,
        "verbs": sub.verbs,
    });
    if sub.group != resource.group {
        entry["group"] = json!(sub.group);
        entry["version"] = json!(sub.version);
    }
    entry
}

/// `/api` (`core`) or `/apis`, aggregated, in the given version of `apidiscovery.k8s.io`.
pub(super) fn aggregated(core: bool, api_version: &str) -> Value {
    let groups: Vec<Value> = group_versions()
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, version)| {
            let resources: Vec<Value> = of_version(group, version).map(aggregated_resource).collect();
            let metadata = if core { json!({"creationTimestamp": null}) } else { json!({"name": group}) };
            let version = json!({"version": version, "resources": resources, "freshness": "Current"});
            json!({"metadata": metadata, "versions": [version]})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{api_version}"),
        "metadata": {},
        "items": groups,
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": {"group": resource.group, "version": resource.version, "kind": resource.kind},
        "scope": scope,
        "singularResource": resource.singular,
        "verbs": resource.verbs,
    });
    names_into(&mut entry, resource);
    if !resource.subresources.is_empty() {
        entry["subresources"] = resource.subresources.iter().map(aggregated_subresource).collect();
    }
    entry
}

fn aggregated_subresource(sub: &Subresource) -> Value {
    json!({
        "subresource": sub.name,
        "responseKind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
        "verbs": sub.verbs,
    })
}
