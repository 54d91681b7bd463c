//! The events of an object.

use std::fmt::Write as _;

use serde_json::Value;

use super::metadata::text;
use crate::commands::{
    age,
    api::{JSON, Session, resource::Resource},
    failure::Failure,
    listing::{self, Selection},
};

/// Reads the events of an object; a node's also under the name that a kubelet uses for its uid.
pub(super) async fn of(session: &Session, object: &Value) -> Result<Vec<Value>, Failure> {
    let metadata = &object["metadata"];
    let kind = text(&object["kind"]);
    let mut events = search(session, object, text(&metadata["uid"])).await?;
    if kind == "Node" {
        events.extend(search(session, object, text(&metadata["name"])).await?);
    }
    events.sort_by_key(|event| text(&event["lastTimestamp"]).to_owned());
    Ok(events)
}

async fn search(session: &Session, object: &Value, uid: &str) -> Result<Vec<Value>, Failure> {
    let metadata = &object["metadata"];
    let kind = text(&object["kind"]);
    let namespace = metadata["namespace"].as_str();
    let mut fields = vec![format!("involvedObject.name={}", text(&metadata["name"]))];
    fields.extend(namespace.map(|namespace| format!("involvedObject.namespace={namespace}")));
    if kind != "Pod" {
        fields.push(format!("involvedObject.kind={kind}"));
    }
    fields.push(format!("involvedObject.uid={uid}"));
    let selection = Selection {
        namespace: namespace.map(str::to_owned),
        fields: fields.join(","),
        ..Selection::default()
    };
    let events = Resource::fixed("", "Event", "events", true);
    Ok(listing::items(listing::list(session, &events, &selection, JSON).await?, &events))
}

/// The table of events as lines with tabs.
pub(super) fn render(events: &[Value]) -> String {
    let mut out =
        "Events:\n  Type\tReason\tAge\tFrom\tMessage\n  ----\t------\t----\t----\t-------\n".to_owned();
    for event in events {
        let source = [&event["source"]["component"], &event["reportingComponent"]];
        let source = source.into_iter().map(text).find(|source| !source.is_empty()).unwrap_or_default();
        let mut message = text(&event["message"]).trim().to_owned();
        if let Some(path) = event["involvedObject"]["fieldPath"].as_str().filter(|path| !path.is_empty()) {
            message = format!("{path}: {message}");
        }
        let _ = writeln!(
            out,
            "  {}\t{}\t{}\t{source}\t{}",
            text(&event["type"]),
            text(&event["reason"]),
            interval(event),
            message.replace('\n', " ")
        );
    }
    out
}

fn interval(event: &Value) -> String {
    let first = [&event["eventTime"], &event["firstTimestamp"]];
    let first = age::since(first.into_iter().map(text).find(|time| !time.is_empty()).unwrap_or_default());
    let (last, count) = match event["series"].as_object() {
        Some(series) => (text(&series["lastObservedTime"]), series["count"].as_i64().unwrap_or(0)),
        None => (text(&event["lastTimestamp"]), event["count"].as_i64().unwrap_or(0)),
    };
    if count > 1 || event["series"].is_object() {
        format!("{} (x{count} over {first})", age::since(last))
    } else {
        first
    }
}
