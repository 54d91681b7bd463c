//! Objects live in namespaces that exist and are not going away (upstream's NamespaceLifecycle admission).

use objects::resource::{Resource, by_kind};
use objects::status::Status;
use serde_json::Value;

use crate::store::{Key, Transaction};

/// Namespaces that every cluster has and nobody may delete.
const KEPT: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses a new object in a namespace that is missing or terminating.
pub(super) fn check(
    transaction: &Transaction<'_>,
    resource: &'static Resource,
    object: &Value,
) -> Result<(), Status> {
    if !resource.namespaced {
        return Ok(());
    }
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or_default();
    let namespaces = by_kind("v1", "Namespace").expect("invariant: namespaces are served");
    let found = transaction.value(&Key::new(namespaces, "", namespace));
    let Some(found) = found else { return Err(Status::not_found(namespaces, namespace)) };
    let going =
        !found["metadata"]["deletionTimestamp"].is_null() || found["status"]["phase"] == "Terminating";
    if going {
        let name = metadata["name"].as_str().unwrap_or_default();
        return Err(Status::namespace_terminating(resource, name, namespace));
    }
    Ok(())
}

/// Refuses to delete a namespace that the cluster needs.
pub(super) fn check_deletion(resource: &'static Resource, object: &Value) -> Result<(), Status> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if resource.kind == "Namespace" && KEPT.contains(&name) {
        return Err(Status::forbidden(resource, name, "this namespace may not be deleted"));
    }
    Ok(())
}
