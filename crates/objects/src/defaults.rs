//! Fills in what users leave out, as kube-apiserver 1.37 does on create, update and patch.
//!
//! Works on decoded objects (known fields only, no nulls), is idempotent, and never overwrites what was given. Values that
//! depend on the cluster (addresses, node ports) are allocated in `control-plane::admission`, not here.

mod pod;
mod service;
mod workload;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// Applies the defaults of the kind; kinds without defaults are left as they are.
pub fn apply(group: &str, kind: &str, object: &mut Value) {
    let Some(fields) = object.as_object_mut() else { return };
    match (group, kind) {
        ("", "Service") => service::service(fields),
        ("", "Pod") => pod::pod(fields),
        ("apps", "Deployment") => workload::deployment(fields),
        ("apps", "ReplicaSet") => workload::replica_set(fields),
        ("", "ReplicationController") => workload::replication_controller(fields),
        ("", "Namespace") => namespace(fields),
        ("", "Node") => node(fields),
        ("", "Secret") => secret(fields),
        ("", "Endpoints") => endpoints(fields),
        ("discovery.k8s.io", "EndpointSlice") => endpoint_slice(fields),
        _ => {}
    }
}

/// Sets a field that is not there.
fn put(fields: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    let missing = fields.get(name).is_none_or(|old| old.is_null() || old.as_str() == Some(""));
    if missing {
        fields.insert(name.to_owned(), value.into());
    }
}

/// A field that holds an object, made if it is not there.
fn object<'f>(fields: &'f mut Map<String, Value>, name: &str) -> Option<&'f mut Map<String, Value>> {
    put(fields, name, json!({}));
    fields.get_mut(name)?.as_object_mut()
}

/// A field that holds an object, if it is there.
fn given<'f>(fields: &'f mut Map<String, Value>, name: &str) -> Option<&'f mut Map<String, Value>> {
    fields.get_mut(name)?.as_object_mut()
}

/// The objects of a list; none if the field is not there.
fn items<'f>(
    fields: &'f mut Map<String, Value>,
    name: &str,
) -> impl Iterator<Item = &'f mut Map<String, Value>> {
    fields.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> &'f str {
    fields.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn namespace(fields: &mut Map<String, Value>) {
    let name = fields.get("metadata").and_then(|m| m["name"].as_str()).unwrap_or_default().to_owned();
    if !name.is_empty()
        && let Some(labels) = object(fields, "metadata").and_then(|metadata| object(metadata, "labels"))
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), Value::from(name));
        labels.sort_keys();
    }
    if let Some(status) = object(fields, "status") {
        put(status, "phase", "Active");
    }
}

/// Texts that the client wants encoded are merged over the encoded ones and never stored.
fn secret(fields: &mut Map<String, Value>) {
    put(fields, "type", "Opaque");
    let Some(Value::Object(texts)) = fields.shift_remove("stringData") else { return };
    if let Some(data) = object(fields, "data") {
        for (key, text) in texts {
            data.insert(key, Value::from(STANDARD.encode(text.as_str().unwrap_or_default())));
        }
        data.sort_keys();
    }
}

fn node(fields: &mut Map<String, Value>) {
    if let Some(spec) = given(fields, "spec") {
        if let Some(range) = spec.get("podCIDR").cloned() {
            put(spec, "podCIDRs", json!([range]));
        }
        if let Some(range) = spec.get("podCIDRs").and_then(|ranges| ranges.get(0)).cloned() {
            put(spec, "podCIDR", range);
        }
    }
    if let Some(status) = given(fields, "status")
        && let Some(capacity) = status.get("capacity").cloned()
    {
        put(status, "allocatable", capacity);
    }
}

fn endpoints(fields: &mut Map<String, Value>) {
    for subset in items(fields, "subsets") {
        for port in items(subset, "ports") {
            put(port, "protocol", "TCP");
        }
    }
}

fn endpoint_slice(fields: &mut Map<String, Value>) {
    for port in items(fields, "ports") {
        port.entry("name").or_insert_with(|| Value::from(""));
        put(port, "protocol", "TCP");
    }
}

#[cfg(test)]
mod tests;
