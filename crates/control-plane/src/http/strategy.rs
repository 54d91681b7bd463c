//! Which parts of an object a request may set: clients write the spec, controllers the status, the server the rest.
//!
//! What a change must not touch is silently put back, as upstream's strategies (`PrepareForUpdate`) do; what it may not
//! change is for admission to refuse.

use objects::resource::Resource;
use objects::status::{FieldError, Status};
use serde_json::{Value, json};

use crate::metadata;

/// Metadata that only the server sets.
const SERVER_OWNED: &[&str] = &[
    "name",
    "generateName",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
    "managedFields",
];

/// Puts back what the request may not change. Call it before admission.
pub(crate) fn carry_over(resource: &Resource, subresource: Option<&str>, old: &Value, new: &mut Value) {
    match subresource {
        Some("status") => {
            let status = new.get("status").cloned();
            new.clone_from(old);
            replace(new, "status", status);
        }
        Some("finalize") => {
            let finalizers = new["spec"].get("finalizers").cloned().unwrap_or(json!([]));
            new.clone_from(old);
            new["spec"]["finalizers"] = finalizers;
        }
        _ => {
            let metadata = metadata::of(new);
            for field in SERVER_OWNED {
                match old["metadata"].get(field) {
                    Some(value) => drop(metadata.insert((*field).to_owned(), value.clone())),
                    None => drop(metadata.shift_remove(*field)),
                }
            }
            if resource.subresource("status").is_some() {
                replace(new, "status", old.get("status").cloned());
            }
            if resource.kind == "Namespace" {
                replace(new, "spec", old.get("spec").cloned());
            }
        }
    }
}

fn replace(object: &mut Value, field: &str, value: Option<Value>) {
    match value {
        Some(value) => object[field] = value,
        None => drop(object.as_object_mut().and_then(|fields| fields.shift_remove(field))),
    }
}

/// Counts a change of anything but metadata and status. Call it after admission.
pub(super) fn count_generation(resource: &Resource, old: &Value, new: &mut Value) {
    if resource.generation && wanted(old) != wanted(new) {
        let generation = old["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
        new["metadata"]["generation"] = json!(generation);
    }
}

/// What the object asks for: all but what describes it.
fn wanted(object: &Value) -> Vec<(&String, &Value)> {
    let fields = object.as_object().into_iter().flatten();
    let mut wanted: Vec<_> = fields
        .filter(|(name, _)| !matches!(name.as_str(), "kind" | "apiVersion" | "metadata" | "status"))
        .collect();
    wanted.sort_by_key(|(name, _)| *name);
    wanted
}

/// The new object must be the one that is stored: the same uid, and the same revision where the client gives one.
pub(super) fn check_identity(
    resource: &Resource,
    name: &str,
    old: &Value,
    new: &Value,
) -> Result<(), Status> {
    let text =
        |object: &Value, field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (uid, stored_uid) = (text(new, "uid"), text(old, "uid"));
    if !uid.is_empty() && uid != stored_uid {
        let why =
            format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {stored_uid}");
        return Err(Status::conflict(resource, name, &why));
    }
    let revision = text(new, "resourceVersion");
    if revision.is_empty() && resource.kind == "Lease" {
        let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
        return Err(Status::invalid(resource, name, &[error]));
    }
    if !revision.is_empty() && revision != text(old, "resourceVersion") {
        return Err(Status::stale(resource, name));
    }
    Ok(())
}

/// True if the object is being deleted and nothing holds it any more.
pub(super) fn is_released(resource: &Resource, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let none = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    metadata["deletionTimestamp"].is_string()
        && metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0
        && none(&metadata["finalizers"])
        && (resource.kind != "Namespace" || none(&object["spec"]["finalizers"]))
}
