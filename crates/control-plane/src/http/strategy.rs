//! Which parts of an object a request may set: clients write the spec, controllers the status, the server the rest.
//!
//! What a change must not touch is silently put back, as upstream's strategies (`PrepareForUpdate`) do; what it may not
//! change is for admission to refuse.

use objects::resource::Resource;
use objects::status::Status;
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
            let (metadata, status) = (new.get("metadata").cloned(), new.get("status").cloned());
            new.clone_from(old);
            replace(new, "metadata", metadata);
            replace(new, "status", status);
            keep_metadata(resource, old, new);
        }
        Some("finalize") => {
            let finalizers = new["spec"].get("finalizers").cloned().unwrap_or(json!([]));
            new.clone_from(old);
            new["spec"]["finalizers"] = finalizers;
        }
        _ => {
            put_back(SERVER_OWNED, old, new);
            if resource.subresource("status").is_some() {
                replace(new, "status", old.get("status").cloned());
            }
            if resource.kind == "Namespace" {
                replace(new, "spec", old.get("spec").cloned());
            }
        }
    }
}

/// A controller that reports a status may annotate the object, but no more.
fn keep_metadata(resource: &Resource, old: &Value, new: &mut Value) {
    put_back(SERVER_OWNED, old, new);
    put_back(&["ownerReferences", "finalizers"], old, new);
    if matches!(resource.kind, "Deployment" | "ReplicaSet" | "ReplicationController") {
        put_back(&["labels"], old, new);
    }
}

fn put_back(fields: &[&str], old: &Value, new: &mut Value) {
    let metadata = metadata::of(new);
    for field in fields {
        match old["metadata"].get(field) {
            Some(value) => drop(metadata.insert((*field).to_owned(), value.clone())),
            None => drop(metadata.shift_remove(*field)),
        }
    }
}

/// `namespace/name`, or `name`.
fn path_of(object: &Value) -> String {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    if text("namespace").is_empty() {
        text("name").to_owned()
    } else {
        format!("{}/{}", text("namespace"), text("name"))
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
    check_name(name, new)?;
    if resource.namespaced && text(new, "namespace") != text(old, "namespace") {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    let (uid, stored_uid) = (text(new, "uid"), text(old, "uid"));
    if !uid.is_empty() && uid != stored_uid {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {stored_uid}",
            resource.storage,
            path_of(old)
        );
        return Err(Status::conflict(resource, name, &why));
    }
    let revision = text(new, "resourceVersion");
    if revision.is_empty() && resource.kind == "Lease" {
        return Err(Status::unconditional(resource, name));
    }
    if !revision.is_empty() && revision != text(old, "resourceVersion") {
        return Err(Status::stale(resource, name));
    }
    Ok(())
}

/// The object in a body is the one that the path names.
pub(super) fn check_name(name: &str, object: &Value) -> Result<(), Status> {
    let given = object["metadata"]["name"].as_str().unwrap_or_default();
    if given == name {
        return Ok(());
    }
    let why = format!("the name of the object ({given}) does not match the name on the URL ({name})");
    Err(Status::bad_request(why))
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
