//! Which part of an object a request may set: users set what they want (`spec`), the cluster says what is (`status`).

use objects::resource::Resource;
use serde_json::{Map, Value, json};

/// Kinds whose status only the status subresource may change.
fn has_status(resource: &Resource) -> bool {
    resource.subresource("status").is_some()
}

/// Takes out of a new object what its creator may not set.
pub(super) fn before_create(resource: &Resource, object: &mut Value) {
    match resource.kind {
        // Nodes register themselves with what they have.
        "Node" => {}
        "Namespace" => {
            object["status"] = json!({"phase": "Active"});
            let finalizers = &mut object["spec"]["finalizers"];
            let kept = finalizers.as_array().is_some_and(|list| list.iter().any(|name| name == "kubernetes"));
            if !kept {
                let mut list = finalizers.as_array().cloned().unwrap_or_default();
                list.push(json!("kubernetes"));
                *finalizers = Value::Array(list);
            }
        }
        _ if has_status(resource) => object["status"] = Value::Object(Map::new()),
        _ => {}
    }
}

/// Puts the old value where this request may not change it, and counts generations.
pub(super) fn before_update(resource: &Resource, old: &Value, new: &mut Value, subresource: Option<&str>) {
    if !has_status(resource) {
        return;
    }
    if subresource == Some("status") {
        copy(old, new, "spec");
    } else {
        copy(old, new, "status");
        if resource.kind == "Namespace" && subresource.is_none() {
            copy(old, new, "spec");
        }
    }
}

fn copy(old: &Value, new: &mut Value, name: &str) {
    let Some(fields) = new.as_object_mut() else { return };
    match old.get(name) {
        Some(value) => fields.insert(name.to_owned(), value.clone()),
        None => fields.shift_remove(name),
    };
}
