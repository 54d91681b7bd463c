//! What the creator of an object may not set: users say what they want (`spec`), the cluster says what is (`status`). What
//! a change may not touch has been put back before admission.

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
