//! Deployments and the sets that they make.

use serde_json::{Value, json};

use super::{Source, labels, list, number, or, text};

pub(super) fn deployment(source: &Source<'_>) -> Vec<Value> {
    let (spec, status) = (source.spec(), source.status());
    let ready = format!("{}/{}", number(status, "readyReplicas"), number(spec, "replicas"));
    let [names, images] = containers(spec);
    vec![
        source.name(),
        json!(ready),
        json!(number(status, "updatedReplicas")),
        json!(number(status, "availableReplicas")),
        source.age(),
        names,
        images,
        json!(selector(&spec["selector"])),
    ]
}

pub(super) fn replica_set(source: &Source<'_>) -> Vec<Value> {
    let selector = selector(&source.spec()["selector"]);
    set(source, or(&selector, "<none>"))
}

pub(super) fn replication_controller(source: &Source<'_>) -> Vec<Value> {
    set(source, &labels(&source.spec()["selector"]))
}

fn set(source: &Source<'_>, selector: &str) -> Vec<Value> {
    let (spec, status) = (source.spec(), source.status());
    let [names, images] = containers(spec);
    vec![
        source.name(),
        json!(number(spec, "replicas")),
        json!(number(status, "replicas")),
        json!(number(status, "readyReplicas")),
        source.age(),
        names,
        images,
        json!(selector),
    ]
}

fn containers(spec: &Value) -> [Value; 2] {
    let containers = list(&spec["template"]["spec"], "containers");
    ["name", "image"].map(|name| {
        let texts: Vec<&str> = containers.iter().map(|container| text(container, name)).collect();
        json!(texts.join(","))
    })
}

/// A label selector in the notation of `kubectl get -l`, in order of keys.
fn selector(selector: &Value) -> String {
    let mut requirements: Vec<(&str, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        requirements.push((key, format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in list(selector, "matchExpressions") {
        let key = text(expression, "key");
        let mut values: Vec<&str> = list(expression, "values").iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        requirements.push((
            key,
            match text(expression, "operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "DoesNotExist" => format!("!{key}"),
                _ => key.to_owned(),
            },
        ));
    }
    requirements.sort_by(|a, b| a.0.cmp(b.0));
    requirements.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}
