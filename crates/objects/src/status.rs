//! The API's `Status`: every refusal that a client sees, with the texts of kube-apiserver (`apimachinery/pkg/api/errors`
//! and `apimachinery/pkg/util/validation/field`), because people and programs match on them.
//!
//! A [`Status`] is an error here and a JSON body on the wire. `details.kind` is the resource (`services`) for most
//! reasons and the kind (`Service`) for Invalid, as upstream has it.

mod field;

pub use field::{FieldError, FieldErrorKind};

use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// Seconds after which a client may ask again for a revision that is not there yet.
const RETRY_AFTER: u32 = 1;

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

    /// 404: no object of that name.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} \"{name}\" not found", resource.qualified()))
            .about(resource, name)
    }

    /// 409: the name is taken by an object that is going away.
    pub fn being_deleted(resource: &Resource, name: &str) -> Self {
        let message = format!("object is being deleted: {} \"{name}\" already exists", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// 404: no such path.
    pub fn unknown_path() -> Self {
        let mut status = Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(json!({}));
        status
    }

    /// 409: the name is taken. `generated` if the server chose it.
    pub fn already_exists(resource: &Resource, name: &str, generated: bool) -> Self {
        let tail =
            if generated { ", the server was not able to generate a unique name for the object" } else { "" };
        let message = format!("{} \"{name}\" already exists{tail}", resource.qualified());
        Self::new(409, "AlreadyExists", message).about(resource, name)
    }

    /// 409: somebody else changed the object since it was read.
    pub fn stale(resource: &Resource, name: &str) -> Self {
        let reason =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, reason)
    }

    /// 409: a precondition does not hold; `why` tells which.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", resource.qualified());
        Self::new(409, "Conflict", message).about(resource, name)
    }

    /// 422: the object breaks rules of its kind.
    pub fn invalid(resource: &Resource, name: &str, errors: &[FieldError]) -> Self {
        let message = format!("{} is invalid: {}", quoted_kind(resource, name), field::aggregate(errors));
        let mut status = Self::new(422, "Invalid", message);
        status.details = Some(details(name, resource.group, resource.kind));
        status.detail("causes", errors.iter().map(FieldError::cause).collect())
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: no valid client certificate.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
    }

    /// 403: understood and refused; `why` follows `… is forbidden: `.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let name_part = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let message = format!("{}{name_part} is forbidden: {why}", resource.qualified());
        Self::new(403, "Forbidden", message).about(resource, name)
    }

    /// 422: an option of a list or watch does not go with the others.
    pub fn forbidden_option(option: &str, why: &str) -> Self {
        Self::invalid_options("ListOptions", &[FieldError::forbidden(option, why)])
    }

    /// 422: options of a request have values that they cannot have; `kind` is such as `CreateOptions`.
    pub fn invalid_options(kind: &str, errors: &[FieldError]) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}", field::aggregate(errors));
        let mut status = Self::new(422, "Invalid", message);
        status.details = Some(details("", "meta.k8s.io", kind));
        status.detail("causes", errors.iter().map(FieldError::cause).collect())
    }

    /// 422: the patch makes something of the object that is none of its kind; `patched` is that, as JSON.
    pub fn invalid_patch(patched: &str, why: &str) -> Self {
        let error = FieldError::invalid("patch", patched, why);
        let mut status = Self::new(422, "Invalid", format!(" \"\" is invalid: {error}"));
        status.details = Some(json!({"causes": [error.cause()]}));
        status
    }

    /// 422 for a change without the revision that the kind demands; named by the resource, as upstream has it.
    pub fn unconditional(resource: &Resource, name: &str) -> Self {
        let error = FieldError::invalid("metadata.resourceVersion", 0, "must be specified for an update");
        let message = format!("{} \"{name}\" is invalid: {error}", resource.qualified());
        Self::new(422, "Invalid", message).about(resource, name).detail("causes", json!([error.cause()]))
    }

    /// 422: a subresource's object breaks a rule; `kind` and `group` are its own.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, error: &FieldError) -> Self {
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let mut status = Self::new(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {error}"));
        status.details = Some(details(name, group, kind));
        status.detail("causes", json!([error.cause()]))
    }

    /// 409: a precondition of a deletion does not hold. Upstream names the kind here.
    pub fn precondition(resource: &Resource, name: &str, why: &str) -> Self {
        let group = if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
        let message = format!("Operation cannot be fulfilled on {}{group} \"{name}\": {why}", resource.kind);
        let mut status = Self::new(409, "Conflict", message);
        status.details = Some(details(name, resource.group, resource.kind));
        status
    }

    /// 409: a subresource such as `pods/binding` cannot be carried out.
    pub fn subresource_conflict(resource: &Resource, subresource: &str, name: &str, why: &str) -> Self {
        let path = format!("{}/{subresource}", resource.plural);
        let message = format!("Operation cannot be fulfilled on {path} \"{name}\": {why}");
        let mut status = Self::new(409, "Conflict", message);
        status.details = Some(details(name, resource.group, &path));
        status
    }

    /// 500 without a reason, as upstream answers what it has no kind of error for.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
    }

    /// 403: the namespace is going away.
    pub fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why =
            format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = format!("namespace {namespace} is being terminated");
        Self::forbidden(resource, name, &why).with_cause(
            "NamespaceTerminating",
            &cause,
            Some("metadata.namespace"),
        )
    }

    /// 405: the resource does not know the verb.
    pub fn method_not_allowed() -> Self {
        let mut status = Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        );
        status.details = Some(json!({}));
        status
    }

    /// 406: the client accepts none of the media types that the server speaks.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", accepted.join(", "));
        Self::new(406, "NotAcceptable", message)
    }

    /// 415: the body's media type is unknown.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    /// 415: the body's media type is none of those for a patch.
    pub fn unsupported_patch() -> Self {
        let mut status = Self::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
        status.details = Some(json!({}));
        status
    }

    /// 415 for a media type that is known and not served yet; `what` is the subject of the sentence.
    pub fn not_supported_yet(what: &str) -> Self {
        Self::new(415, "UnsupportedMediaType", format!("{what} is not supported yet"))
    }

    /// 501: part of Kubernetes' API, and not of ours so far.
    pub fn not_implemented(what: &str) -> Self {
        Self::new(501, "NotImplemented", format!("{what} is not supported yet"))
    }

    /// 422: the patch does not fit the object.
    pub fn unprocessable() -> Self {
        let message = "the server rejected our request due to an error in our request";
        let mut status = Self::new(422, "Invalid", message);
        status.details = Some(json!({}));
        status
    }

    /// 413: a JSON patch has more operations than are carried out.
    pub fn too_many_operations(count: usize, limit: usize) -> Self {
        let message = format!(
            "Request entity too large: The allowed maximum operations in a JSON patch is {limit}, got {count}"
        );
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 413: the body is longer than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity too large: limit is {limit}");
        Self::new(413, "RequestEntityTooLarge", message)
    }

    /// 410: the revision to watch from has left the window; `oldest` is the first that can be served.
    pub fn expired(asked: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {asked} ({oldest})"))
    }

    /// 410: the pages of a list ended.
    pub fn continue_expired() -> Self {
        let message = "The provided continue parameter is too old to display a consistent list result. You must start \
                       a new list without the continue parameter.";
        Self::new(410, "Expired", message)
    }

    /// 504: the revision lies in the future.
    pub fn too_large_revision(asked: u64, current: u64) -> Self {
        let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
        Self::new(504, "Timeout", message)
            .with_cause("ResourceVersionTooLarge", "Too large resource version", None)
            .detail("retryAfterSeconds", json!(RETRY_AFTER))
    }

    /// 500: we failed.
    pub fn internal(message: impl std::fmt::Display) -> Self {
        let text = message.to_string();
        Self::new(500, "InternalError", format!("Internal error occurred: {text}"))
            .with_cause("", &text, None)
    }

    /// 503: cannot be served now.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
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
