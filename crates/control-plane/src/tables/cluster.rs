//! Nodes, namespaces and the small kinds.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Source, joined, list, or, text};

pub(super) fn node(source: &Source<'_>) -> Vec<Value> {
    let status = source.status();
    let info = &status["nodeInfo"];
    let address = |kind: &str| {
        let found = list(status, "addresses").iter().find(|address| text(address, "type") == kind);
        json!(found.map_or("<none>", |address| text(address, "address")))
    };
    let known = |name: &str| or(text(info, name), "<unknown>");
    let kernel = match text(info, "architecture") {
        "" => known("kernelVersion").to_owned(),
        architecture => format!("{} ({architecture})", known("kernelVersion")),
    };
    vec![
        source.name(),
        json!(node_status(source)),
        json!(roles(&source.metadata()["labels"])),
        source.age(),
        json!(text(info, "kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        json!(known("osImage")),
        json!(kernel),
        json!(known("containerRuntimeVersion")),
    ]
}

fn node_status(source: &Source<'_>) -> String {
    let conditions = list(source.status(), "conditions");
    let ready = conditions.iter().rfind(|condition| text(condition, "type") == "Ready");
    let ready = match ready.map(|condition| text(condition, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let closed = source.spec()["unschedulable"] == true;
    if closed { format!("{ready},SchedulingDisabled") } else { ready.to_owned() }
}

fn roles(labels: &Value) -> String {
    let roles: BTreeSet<&str> = labels
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None if key == "kubernetes.io/role" => value.as_str(),
            None => None,
        })
        .filter(|role| !role.is_empty())
        .collect();
    joined(roles)
}

pub(super) fn namespace(source: &Source<'_>) -> Vec<Value> {
    vec![source.name(), json!(text(source.status(), "phase")), source.age()]
}

fn entries(object: &Value, name: &str) -> usize {
    object[name].as_object().map_or(0, serde_json::Map::len)
}

pub(super) fn config_map(source: &Source<'_>) -> Vec<Value> {
    let count = entries(source.object, "data") + entries(source.object, "binaryData");
    vec![source.name(), json!(count), source.age()]
}

pub(super) fn secret(source: &Source<'_>) -> Vec<Value> {
    let object = source.object;
    vec![source.name(), json!(text(object, "type")), json!(entries(object, "data")), source.age()]
}

pub(super) fn service_account(source: &Source<'_>) -> Vec<Value> {
    vec![source.name(), source.age()]
}

pub(super) fn lease(source: &Source<'_>) -> Vec<Value> {
    vec![source.name(), json!(text(source.spec(), "holderIdentity")), source.age()]
}

pub(super) fn resource_quota(source: &Source<'_>) -> Vec<Value> {
    let status = source.status();
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let hard: std::collections::BTreeMap<&String, &Value> =
        status["hard"].as_object().into_iter().flatten().collect();
    for (name, amount) in hard {
        let used = status["used"][name].as_str().unwrap_or("0");
        let column = if name.starts_with("limits.") { &mut limits } else { &mut requests };
        column.push(format!("{name}: {used}/{}", amount.as_str().unwrap_or_default()));
    }
    vec![source.name(), json!(requests.join(", ")), json!(limits.join(", ")), source.age()]
}

pub(super) fn ip_address(source: &Source<'_>) -> Vec<Value> {
    let parent = &source.spec()["parentRef"];
    if parent.is_null() {
        return vec![source.name(), json!("<none>")];
    }
    let resource = match text(parent, "group") {
        "" => text(parent, "resource").to_lowercase(),
        group => format!("{}.{group}", text(parent, "resource")).to_lowercase(),
    };
    let path = [resource.as_str(), text(parent, "namespace"), text(parent, "name")];
    let path: Vec<&str> = path.into_iter().filter(|part| !part.is_empty()).collect();
    vec![source.name(), json!(path.join("/"))]
}

pub(super) fn service_cidr(source: &Source<'_>) -> Vec<Value> {
    let ranges: Vec<&str> = list(source.spec(), "cidrs").iter().filter_map(Value::as_str).collect();
    vec![source.name(), json!(ranges.join(",")), source.age()]
}
