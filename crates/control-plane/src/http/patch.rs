//! PATCH: four languages for saying what to change, three of which are spoken.
//!
//! The patch is applied inside the transaction, so two patches of one object never lose each other and no retry is needed.
//! The result is decoded like a whole object: it must be one.

use bytes::Bytes;
use http::HeaderMap;
use objects::resource::Resource;
use objects::status::Status;
use serde_json::{Map, Value};

use super::query::FieldValidation;
use super::{decode, events, request};
use crate::admission::Warnings;

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// Most operations of a JSON patch, as upstream's.
const MAX_OPERATIONS: usize = 10_000;

/// A patch that has been read.
pub(super) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by key.
    Strategic(Value),
}

impl Patch {
    pub(super) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, Status> {
        match request::media_type(headers) {
            JSON_PATCH => json_patch(body),
            MERGE_PATCH => object(body).map(Self::Merge),
            STRATEGIC => object(body).map(Self::Strategic),
            APPLY | "application/apply-patch+cbor" => {
                Err(Status::not_supported_yet("server-side apply (application/apply-patch+yaml)"))
            }
            _ => Err(Status::unsupported_patch()),
        }
    }

    /// What the patch makes of `object`.
    pub(super) fn apply(&self, kind: (&str, &str), object: &Value) -> Result<Value, Status> {
        let mut patched = object.clone();
        match self {
            Self::Json(patch) => {
                json_patch::patch(&mut patched, patch).map_err(|_| Status::unprocessable())?
            }
            Self::Merge(patch) => json_patch::merge(&mut patched, patch),
            Self::Strategic(patch) => objects::strategic_merge::apply(kind.0, kind.1, &mut patched, patch)
                .map_err(|error| Status::bad_request(error.to_string()))?,
        }
        Ok(patched)
    }

    /// The object of `resource` that the patch makes of the stored one.
    pub(super) fn apply_to(
        &self,
        resource: &'static Resource,
        stored: &Value,
        validation: FieldValidation,
    ) -> Result<(Value, Warnings), Status> {
        let old = events::from_stored(resource, stored.clone());
        let patched = self.apply((resource.group, resource.kind), &old)?;
        let text = patched.to_string();
        let (object, warnings) = decode::object(resource, &Bytes::from(text.clone()), validation)
            .map_err(|status| Status::invalid_patch(&text, reason(&status.message)))?;
        Ok((events::to_stored(resource, object), warnings))
    }
}

/// What does not fit, without the sentence around it.
fn reason(message: &str) -> &str {
    message
        .split_once(" cannot be handled as a ")
        .and_then(|(_, rest)| rest.split_once(": "))
        .map_or(message, |(_, r)| r)
}

fn json_patch(body: &Bytes) -> Result<Patch, Status> {
    let Value::Array(operations) = parsed(body)? else {
        return Err(Status::bad_request("error decoding patch: it is not a list of operations"));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(Status::too_many_operations(operations.len(), MAX_OPERATIONS));
    }
    let patch = serde_json::from_value(Value::Array(operations)).map_err(|_| Status::unprocessable())?;
    Ok(Patch::Json(patch))
}

fn object(body: &Bytes) -> Result<Value, Status> {
    match parsed(body)? {
        object @ Value::Object(_) => Ok(object),
        Value::Array(_) => Err(no_object("array")),
        Value::String(_) => Err(no_object("string")),
        Value::Number(_) => Err(no_object("number")),
        Value::Bool(_) => Err(no_object("bool")),
        Value::Null => Ok(Value::Object(Map::new())),
    }
}

fn no_object(found: &str) -> Status {
    let text = format!(
        "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
    );
    Status::bad_request(text)
}

fn parsed(body: &Bytes) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|_| Status::bad_request("invalid JSON patch"))
}
