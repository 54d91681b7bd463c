//! The API's `Status`: every refusal that a client sees, with the texts of kube-apiserver (`apimachinery/pkg/api/errors`
//! and `apimachinery/pkg/util/validation/field`), because people and programs match on them.
//!
//! A [`Status`] is an error here and a JSON body on the wire. `details.kind` is the resource (`services`) for most
//! reasons and the kind (`Service`) for Invalid, as upstream has it.

mod field;
mod of_objects;
mod of_requests;

pub use field::{FieldError, FieldErrorKind};

use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// A refusal, as the API's `Status` object.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`.
    pub reason: &'static str,
    /// What a person reads.
    pub message: String,
    /// `details` of the Status, if any.
    pub details: Option<Value>,
}

impl Status {
    fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    fn about(mut self, resource: &Resource, name: &str) -> Self {
        self.details = Some(details(name, resource.group, resource.plural));
        self
    }

    fn with_cause(self, reason: &str, message: &str, field: Option<&str>) -> Self {
        let mut cause =
            Map::from_iter([("reason".to_owned(), json!(reason)), ("message".to_owned(), json!(message))]);
        if let Some(field) = field {
            cause.insert("field".to_owned(), json!(field));
        }
        self.detail("causes", json!([cause]))
    }

    fn detail(mut self, key: &str, value: Value) -> Self {
        let details = self.details.get_or_insert_with(|| Value::Object(Map::new()));
        details[key] = value;
        self
    }

    /// The object on the wire.
    pub fn to_json(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        });
        if !self.reason.is_empty() {
            status["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            status["details"] = details.clone();
        }
        status["code"] = json!(self.code);
        status
    }

    /// The answer to a DELETE of a kind that answers with a Status.
    pub fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
        let mut about = details(name, resource.group, resource.plural);
        about["uid"] = json!(uid);
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about})
    }
}

/// `Service "x"`, `Deployment.apps "x"`.
fn quoted_kind(resource: &Resource, name: &str) -> String {
    if resource.group.is_empty() {
        format!("{} \"{name}\"", resource.kind)
    } else {
        format!("{}.{} \"{name}\"", resource.kind, resource.group)
    }
}

fn details(name: &str, group: &str, kind: &str) -> Value {
    let mut details = Map::new();
    for (key, value) in [("name", name), ("group", group), ("kind", kind)] {
        if !value.is_empty() {
            details.insert(key.to_owned(), json!(value));
        }
    }
    Value::Object(details)
}

#[cfg(test)]
mod tests;
