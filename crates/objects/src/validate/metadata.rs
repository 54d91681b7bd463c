//! Rules of `metadata`, common to all kinds (`apimachinery/pkg/api/validation/objectmeta.go`).

use super::{entries, invalid, list, names, text};
use crate::resource::Resource;
use crate::status::FieldError;
use serde_json::{Value, json};

/// Bytes of all annotations of an object, keys and values.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// How names of a kind are judged.
fn name_rule(resource: &Resource) -> fn(&str) -> Vec<String> {
    match resource.kind {
        "Service" | "Namespace" => names::dns_1123_label,
        _ => names::dns_1123_subdomain,
    }
}

pub(super) fn create(resource: &Resource, object: &Value) -> Vec<FieldError> {
    let metadata = &object["metadata"];
    let rule = name_rule(resource);
    let mut errors = Vec::new();
    let prefix = text(metadata, "generateName");
    if !prefix.is_empty() {
        errors.extend(invalid("metadata.generateName", &metadata["generateName"], rule(&stem(prefix))));
    }
    let name = text(metadata, "name");
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else {
        errors.extend(invalid("metadata.name", &metadata["name"], rule(name)));
    }
    errors.extend(namespace(resource, metadata));
    errors.extend(common(metadata));
    errors.extend(finalizers(metadata));
    errors
}

/// A prefix as it is judged: it may end in a hyphen, since characters follow.
fn stem(prefix: &str) -> String {
    match prefix.strip_suffix('-') {
        Some(rest) if !rest.is_empty() => {
            let kept: String = rest.chars().take(rest.chars().count() - 1).collect();
            format!("{kept}a")
        }
        _ => prefix.to_owned(),
    }
}

fn namespace(resource: &Resource, metadata: &Value) -> Vec<FieldError> {
    let namespace = text(metadata, "namespace");
    match (resource.namespaced, namespace.is_empty()) {
        (true, true) => vec![FieldError::required("metadata.namespace", "")],
        (true, false) => {
            invalid("metadata.namespace", &metadata["namespace"], names::dns_1123_label(namespace))
        }
        (false, false) => vec![FieldError::forbidden("metadata.namespace", "not allowed on this type")],
        (false, true) => Vec::new(),
    }
}

fn common(metadata: &Value) -> Vec<FieldError> {
    let mut errors = labels("metadata.labels", &metadata["labels"]);
    errors.extend(annotations("metadata.annotations", &metadata["annotations"]));
    errors.extend(owners(metadata));
    errors
}

/// Rules of annotations, also of a template's.
pub(super) fn annotations(field: &str, annotations: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut size = 0;
    for (key, value) in entries(annotations) {
        size += key.len() + value.len();
        errors.extend(invalid(field, &json!(key), names::qualified_name(&key.to_lowercase())));
    }
    if size > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(field, ANNOTATIONS_MAX));
    }
    errors
}

/// Rules of labels, also of selectors made of plain labels.
pub(super) fn labels(field: &str, labels: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in entries(labels) {
        errors.extend(invalid(field, &json!(key), names::qualified_name(key)));
        errors.extend(invalid(field, &json!(value), names::label_value(value)));
    }
    errors
}

fn owners(metadata: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut controller: Option<String> = None;
    for (index, owner) in list(metadata, "ownerReferences").iter().enumerate() {
        let field = format!("metadata.ownerReferences[{index}]");
        for name in ["apiVersion", "kind", "name", "uid"] {
            if text(owner, name).is_empty() {
                errors.push(FieldError::required(format!("{field}.{name}"), "must not be empty"));
            }
        }
        if owner["controller"] == true {
            let this = format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            if let Some(first) = &controller {
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                );
                errors.push(FieldError::invalid(
                    "metadata.ownerReferences",
                    metadata["ownerReferences"].clone(),
                    detail,
                ));
            } else {
                controller = Some(this);
            }
        }
    }
    errors
}

/// Finalizers that need no domain before their name.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizers(metadata: &Value) -> Vec<FieldError> {
    let names = || list(metadata, "finalizers").iter().filter_map(Value::as_str);
    let mut errors: Vec<FieldError> = names()
        .flat_map(|name| invalid("metadata.finalizers", &json!(name), names::qualified_name(name)))
        .collect();
    for (index, name) in names().enumerate() {
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(format!("metadata.finalizers[{index}]"), name, detail));
        }
    }
    errors
}

pub(super) fn update(old: &Value, new: &Value) -> Vec<FieldError> {
    let (before, after) = (&old["metadata"], &new["metadata"]);
    let mut errors = Vec::new();
    if !before["deletionTimestamp"].is_null() {
        errors.extend(new_finalizers(before, after));
    }
    for name in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        if before[name] != after[name] {
            errors.push(FieldError::invalid(
                format!("metadata.{name}"),
                after[name].clone(),
                "field is immutable",
            ));
        }
    }
    errors.extend(common(after));
    errors
}

fn new_finalizers(before: &Value, after: &Value) -> Option<FieldError> {
    let known = list(before, "finalizers");
    let mut added: Vec<&str> = list(after, "finalizers")
        .iter()
        .filter(|name| !known.contains(name))
        .filter_map(Value::as_str)
        .collect();
    added.sort_unstable();
    let quoted: Vec<String> = added.iter().map(|name| format!("\"{name}\"")).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        quoted.join(", ")
    );
    (!added.is_empty()).then(|| FieldError::forbidden("metadata.finalizers", detail))
}
