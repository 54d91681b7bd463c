//! Rules of nodes, namespaces and the small kinds.

use super::{entries, invalid, list, names, text};
use crate::status::FieldError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Bytes of all values of a ConfigMap or Secret.
const DATA_MAX: usize = 1024 * 1024;

pub(super) fn namespace(namespace: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for name in list(&namespace["spec"], "finalizers").iter().filter_map(Value::as_str) {
        errors.extend(invalid("spec.finalizers", &json!(name), names::qualified_name(name)));
        if !name.contains('/') && name != "kubernetes" {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid("spec.finalizers", name, detail));
        }
    }
    errors
}

pub(super) fn config_map(map: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in entries(&map["data"]) {
        errors.extend(data_key("data", key));
        if !map["binaryData"][key].is_null() {
            errors.push(FieldError::invalid(
                format!("data[{key}]"),
                key,
                "duplicate of key present in binaryData",
            ));
        }
        size += value.len();
    }
    for (key, value) in entries(&map["binaryData"]) {
        errors.extend(data_key("binaryData", key));
        size += decoded_length(value);
    }
    if size > DATA_MAX {
        errors.push(FieldError::too_long("[]", DATA_MAX));
    }
    errors
}

fn data_key(field: &str, key: &str) -> Vec<FieldError> {
    invalid(&format!("{field}[{key}]"), &json!(key), names::config_key(key))
}

fn decoded_length(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

pub(super) fn secret(secret: &Value) -> Vec<FieldError> {
    let data = &secret["data"];
    let mut errors: Vec<FieldError> = entries(data).flat_map(|(key, _)| data_key("data", key)).collect();
    if entries(data).map(|(_, value)| decoded_length(value)).sum::<usize>() > DATA_MAX {
        errors.push(FieldError::too_long("data", DATA_MAX));
    }
    let missing = |key: &str| data[key].is_null();
    let required = |key: &str| FieldError::required(format!("data[{key}]"), "");
    match text(secret, "type") {
        "kubernetes.io/service-account-token" => {
            const OWNER: &str = "kubernetes.io/service-account.name";
            if text(&secret["metadata"]["annotations"], OWNER).is_empty() {
                errors.push(FieldError::required(format!("metadata.annotations[{OWNER}]"), ""));
            }
        }
        "kubernetes.io/dockercfg" => errors.extend(docker_config(".dockercfg", data)),
        "kubernetes.io/dockerconfigjson" => errors.extend(docker_config(".dockerconfigjson", data)),
        "kubernetes.io/basic-auth" if missing("username") && missing("password") => {
            errors.extend(["username", "password"].map(required));
        }
        "kubernetes.io/ssh-auth" if text(data, "ssh-privatekey").is_empty() => {
            errors.push(required("ssh-privatekey"));
        }
        "kubernetes.io/tls" => {
            errors.extend(["tls.crt", "tls.key"].into_iter().filter(|key| missing(key)).map(required));
        }
        _ => {}
    }
    errors
}

fn docker_config(key: &str, data: &Value) -> Option<FieldError> {
    let field = format!("data[{key}]");
    let Some(encoded) = data[key].as_str() else { return Some(FieldError::required(field, "")) };
    let bytes = STANDARD.decode(encoded).unwrap_or_default();
    let error = serde_json::from_slice::<serde_json::Map<String, Value>>(&bytes).err()?;
    Some(FieldError::invalid(field, "<secret contents redacted>", error.to_string()))
}

/// What may not change once an object is marked immutable.
pub(super) fn immutable(old: &Value, new: &Value) -> Vec<FieldError> {
    if old["immutable"] != true {
        return Vec::new();
    }
    let refuse = |field: &str| FieldError::forbidden(field, "field is immutable when `immutable` is set");
    let mut errors = Vec::new();
    if new["immutable"] != true {
        errors.push(refuse("immutable"));
    }
    let fields = ["data", "binaryData"].into_iter().filter(|name| old[*name] != new[*name]);
    errors.extend(fields.map(refuse));
    errors
}

/// The type of a Secret is immutable.
pub(super) fn secret_change(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if old["type"] != new["type"] {
        errors.push(FieldError::invalid("type", new["type"].clone(), "field is immutable"));
    }
    errors.extend(immutable(old, new));
    errors
}

pub(super) fn node(node: &Value) -> Vec<FieldError> {
    let spec = &node["spec"];
    let mut errors = Vec::new();
    for (index, taint) in list(spec, "taints").iter().enumerate() {
        errors.extend(self::taint(&format!("metadata.taints[{index}]"), taint));
    }
    let ranges = list(spec, "podCIDRs");
    for (index, range) in ranges.iter().enumerate() {
        errors.extend(super::service::cidr(
            &format!("spec.podCIDRs[{index}]"),
            range.as_str().unwrap_or_default(),
        ));
    }
    let v6 = ranges.iter().filter(|range| range.as_str().is_some_and(|range| range.contains(':'))).count();
    if ranges.len() > 1 && (ranges.len() > 2 || v6 != 1) {
        let detail = "may specify no more than one CIDR for each IP family";
        errors.push(FieldError::invalid("spec.podCIDRs", spec["podCIDRs"].clone(), detail));
    }
    errors
}

fn taint(at: &str, taint: &Value) -> Vec<FieldError> {
    let (key, value, effect) = (text(taint, "key"), text(taint, "value"), text(taint, "effect"));
    let mut errors = invalid(&format!("{at}.key"), &json!(key), names::qualified_name(key));
    let complaints = names::label_value(value);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(format!("{at}.value"), value, complaints.join(";")));
    }
    errors.extend(super::one_of(
        &format!("{at}.effect"),
        effect,
        &["NoSchedule", "PreferNoSchedule", "NoExecute"],
    ));
    errors
}

/// A node keeps its subnet once it has one.
pub(super) fn node_change(old: &Value, new: &Value) -> Option<FieldError> {
    let (before, after) = (list(&old["spec"], "podCIDRs"), list(&new["spec"], "podCIDRs"));
    let detail = "node updates may not change podCIDR except from \"\" to valid";
    (!before.is_empty() && before != after).then(|| FieldError::forbidden("spec.podCIDRs", detail))
}

pub(super) fn lease(lease: &Value) -> Vec<FieldError> {
    let spec = &lease["spec"];
    let mut errors = Vec::new();
    if let Some(seconds) = spec["leaseDurationSeconds"].as_i64().filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"));
    }
    if let Some(count) = spec["leaseTransitions"].as_i64().filter(|count| *count < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid("spec.leaseTransitions", count, detail));
    }
    errors
}

pub(super) fn event(event: &Value) -> Option<FieldError> {
    let (about, own) = (text(&event["involvedObject"], "namespace"), text(&event["metadata"], "namespace"));
    // Events about objects without a namespace live in `default`.
    let expected = if about.is_empty() { "default" } else { about };
    let fits = own == expected || (about.is_empty() && own == "kube-system");
    let detail = "does not match event.namespace";
    (!fits).then(|| FieldError::invalid("involvedObject.namespace", about, detail))
}
