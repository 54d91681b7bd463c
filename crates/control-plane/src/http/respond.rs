//! Objects and lists as the bytes of a response, in the form that the client asked for.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;
use objects::resource::Resource;
use serde_json::{Map, Value, json};

use super::body::{self, JSON, ResponseBody};
use super::negotiate::Form;
use super::query::IncludeObject;
use super::read::{List, list_kind};
use super::{events, write};
use crate::store::{Stored, decode};
use crate::tables;

const TABLE: &str = "Table";
const META: &str = "meta.k8s.io/v1";
/// `warn-code warn-agent`, as upstream's.
const WARNING: &str = "299 -";

/// How to write objects of a resource.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) resource: &'static Resource,
    pub(super) form: Form,
    pub(super) include: IncludeObject,
}

impl Style {
    /// True if stored bytes can be sent as they are.
    pub(super) fn is_stored(&self) -> bool {
        self.form == Form::Object && !events::is_converted(self.resource)
    }

    /// A stored object in this style. `columns`: a table says what its columns are.
    pub(super) fn value(&self, object: Value, columns: bool) -> Value {
        let object = events::from_stored(self.resource, object);
        match self.form {
            Form::Object => object,
            Form::Metadata => partial(&object),
            Form::Table => {
                let revision = object["metadata"]["resourceVersion"].clone();
                self.table(vec![object], &json!({"resourceVersion": revision}), columns)
            }
        }
    }

    fn table(&self, objects: Vec<Value>, metadata: &Value, columns: bool) -> Value {
        let table = tables::render(self.resource, &objects, Timestamp::now());
        let rows = table.rows.into_iter().zip(objects).map(|(row, object)| {
            let mut entry = Map::from_iter([("cells".to_owned(), Value::Array(row.cells))]);
            if !row.conditions.is_empty() {
                entry.insert("conditions".to_owned(), Value::Array(row.conditions));
            }
            match self.include {
                IncludeObject::None => {}
                IncludeObject::Metadata => drop(entry.insert("object".to_owned(), partial(&object))),
                IncludeObject::Object => drop(entry.insert("object".to_owned(), object)),
            }
            Value::Object(entry)
        });
        let rows: Vec<Value> = rows.collect();
        let columns = if columns { table.columns } else { json!([]) };
        json!({"kind": TABLE, "apiVersion": META, "metadata": metadata, "columnDefinitions": columns, "rows": rows})
    }

    /// An empty object that only tells a revision, for bookmarks.
    pub(super) fn bookmark(&self, revision: u64, end_of_initial_events: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if end_of_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.form {
            Form::Object => {
                let (kind, api_version) = (self.resource.kind, self.resource.api_version());
                json!({"kind": kind, "apiVersion": api_version, "metadata": metadata})
            }
            Form::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": metadata})
            }
            Form::Table => {
                json!({"kind": TABLE, "apiVersion": META, "metadata": metadata, "columnDefinitions": [], "rows": []})
            }
        }
    }
}

fn partial(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": object["metadata"]})
}

/// One stored object.
pub(super) fn stored(style: Style, object: &Stored) -> Response<ResponseBody> {
    if style.is_stored() {
        return body::whole(StatusCode::OK, JSON, object.json.clone());
    }
    body::json(StatusCode::OK, &style.value(decode(object), true))
}

/// What a write made, with its warnings.
pub(super) fn written(style: Style, code: StatusCode, outcome: write::Outcome) -> Response<ResponseBody> {
    let mut response = body::json(code, &presented(style, outcome.object));
    for text in &outcome.warnings {
        warn(&mut response, text);
    }
    response
}

/// A served (not stored) object in the style.
fn presented(style: Style, object: Value) -> Value {
    match style.form {
        Form::Object => object,
        _ => style.value(events::to_stored(style.resource, object), true),
    }
}

/// Adds a `Warning` header.
pub(super) fn warn(response: &mut Response<ResponseBody>, text: &str) {
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    if let Ok(value) = HeaderValue::from_str(&format!("{WARNING} \"{quoted}\"")) {
        response.headers_mut().append(http::header::WARNING, value);
    }
}

/// A list.
pub(super) fn list(style: Style, list: &List) -> Response<ResponseBody> {
    if style.is_stored() {
        return body::whole(StatusCode::OK, JSON, concatenated(style.resource, list));
    }
    let metadata = json!({"resourceVersion": list.revision.to_string()});
    let objects = list.objects.iter().map(|object| events::from_stored(style.resource, decode(object)));
    let value = match style.form {
        Form::Table => style.table(objects.collect(), &metadata, true),
        Form::Metadata => {
            let items: Vec<Value> = objects.map(|object| partial(&object)).collect();
            json!({"kind": "PartialObjectMetadataList", "apiVersion": META, "metadata": metadata, "items": items})
        }
        Form::Object => list_of(style.resource, &metadata, objects.collect()),
    };
    body::json(StatusCode::OK, &value)
}

/// A list of values that are in the served form already.
pub(super) fn list_of(resource: &Resource, metadata: &Value, items: Vec<Value>) -> Value {
    json!({
        "kind": list_kind(resource),
        "apiVersion": resource.api_version(),
        "metadata": metadata,
        "items": items,
    })
}

/// The list by joining what is stored, without decoding any of it.
fn concatenated(resource: &Resource, list: &List) -> Bytes {
    let head = format!(
        r#"{{"kind":"{}","apiVersion":"{}","metadata":{{"resourceVersion":"{}"}},"items":["#,
        list_kind(resource),
        resource.api_version(),
        list.revision
    );
    let size = list.objects.iter().map(|object| object.json.len() + 1).sum::<usize>() + head.len() + 2;
    let mut bytes = BytesMut::with_capacity(size);
    bytes.put(head.as_bytes());
    for (i, object) in list.objects.iter().map(Arc::as_ref).enumerate() {
        if i > 0 {
            bytes.put_u8(b',');
        }
        bytes.put(object.json.as_ref());
    }
    bytes.put(&b"]}"[..]);
    bytes.freeze()
}
