//! What the server writes into an object's metadata.

use jiff::Timestamp;
use objects::resource::Resource;
use serde_json::{Map, Value, json};

/// The time as metadata holds it: RFC 3339, whole seconds, UTC.
pub(crate) fn now() -> String {
    at(Timestamp::now())
}

/// `time` as metadata holds it.
pub(crate) fn at(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The object's metadata, made if it has none.
pub(crate) fn of(object: &mut Value) -> &mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("invariant: made an object above")
}

/// Gives a new object its uid, time of creation and first generation, and drops what only the server may set.
pub(crate) fn initialize(resource: &Resource, object: &mut Value) {
    let metadata = of(object);
    for set_by_server in ["selfLink", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        metadata.shift_remove(set_by_server);
    }
    metadata.insert("uid".to_owned(), json!(uuid::Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".to_owned(), json!(now()));
    if resource.generation {
        metadata.insert("generation".to_owned(), json!(1));
    } else {
        metadata.shift_remove("generation");
    }
}
