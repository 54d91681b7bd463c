//! Refusals that are about the request itself: its path, method, media types, options, size, revision; and our own failures.

use serde_json::json;

use super::{FieldError, Status, details, field};

/// Seconds after which a client may ask again for a revision that is not there yet.
const RETRY_AFTER: u32 = 1;

impl Status {
    /// 404: no such path.
    pub fn unknown_path() -> Self {
        let mut status = Self::new(404, "NotFound", "the server could not find the requested resource");
        status.details = Some(json!({}));
        status
    }

    /// 400: the request cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// 401: no valid client certificate.
    pub fn unauthorized() -> Self {
        Self::new(401, "Unauthorized", "Unauthorized")
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

    /// 500 without a reason, as upstream answers what it has no kind of error for.
    pub fn plain(message: impl Into<String>) -> Self {
        Self::new(500, "", message)
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
}
