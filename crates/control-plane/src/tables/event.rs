//! Events, of either group: both are stored as core events.

use objects::duration::age;
use serde_json::{Value, json};

use super::{Source, number, or, text};

/// A field by its name in the core group or in `events.k8s.io`.
fn either<'v>(event: &'v Value, core: &str, other: &str) -> &'v Value {
    if event[core].is_null() { &event[other] } else { &event[core] }
}

pub(super) fn cells(source: &Source<'_>) -> Vec<Value> {
    let event = source.object;
    let first_time = either(event, "firstTimestamp", "deprecatedFirstTimestamp");
    let first = age(if first_time.is_null() { &event["eventTime"] } else { first_time }, source.now);
    let last_time = either(event, "lastTimestamp", "deprecatedLastTimestamp");
    let mut last = if last_time.is_null() { first.clone() } else { age(last_time, source.now) };
    let mut count = either(event, "count", "deprecatedCount").as_i64().unwrap_or_default();
    let series = &event["series"];
    if series.is_object() {
        last = age(&series["lastObservedTime"], source.now);
        count = number(series, "count");
    }
    let object = either(event, "involvedObject", "regarding");
    vec![
        json!(last),
        json!(text(event, "type")),
        json!(text(event, "reason")),
        json!(target(object)),
        json!(text(object, "fieldPath")),
        json!(origin(event)),
        json!(either(event, "message", "note").as_str().unwrap_or_default().trim()),
        json!(first),
        // Events of the newer API say nothing when they happened once.
        json!(if count == 0 { 1 } else { count }),
        source.name(),
    ]
}

fn target(object: &Value) -> String {
    let kind = text(object, "kind").to_lowercase();
    match text(object, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn origin(event: &Value) -> String {
    let source = either(event, "source", "deprecatedSource");
    let controller = either(event, "reportingComponent", "reportingController").as_str().unwrap_or_default();
    let component = or(text(source, "component"), controller);
    match or(text(source, "host"), text(event, "reportingInstance")) {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    }
}
