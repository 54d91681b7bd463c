//! Events are served by two groups with other names for the same fields; they are stored as the core group's.

use objects::resource::Resource;
use serde_json::{Value, json};

/// Name in the core group, name in `events.k8s.io`.
const FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// True if the resource's objects are stored in another form than they are served in.
pub(super) fn is_converted(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

/// The object as it is stored.
pub(super) fn to_stored(resource: &Resource, object: Value) -> Value {
    if is_converted(resource) { rename(object, "v1", |(core, other)| (other, core)) } else { object }
}

/// The object as `resource` serves it.
pub(super) fn from_stored(resource: &Resource, object: Value) -> Value {
    if !is_converted(resource) {
        return object;
    }
    let mut object = rename(object, "events.k8s.io/v1", |(core, other)| (core, other));
    if let Some(message) = objects::schema::of_kind(resource.group, resource.kind) {
        objects::decode::canonicalize(message, &mut object);
    }
    object
}

fn rename<'a>(
    mut object: Value,
    api_version: &str,
    direction: impl Fn((&'a str, &'a str)) -> (&'a str, &'a str),
) -> Value {
    object["apiVersion"] = json!(api_version);
    if let Some(fields) = object.as_object_mut() {
        for (from, to) in FIELDS.iter().map(|pair| direction(*pair)) {
            if let Some(value) = fields.shift_remove(from) {
                fields.insert(to.to_owned(), value);
            }
        }
    }
    object
}
