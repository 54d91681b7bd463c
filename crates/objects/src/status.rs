//! The API's errors: kube-apiserver's `Status` with its exact codes, reasons and texts.
//!
//! kubectl prints `message` to people and scripts match on it, so the constructors reproduce
//! `apimachinery/pkg/api/errors/errors.go` word for word. A `Status` here is always a failure; the answer to a DELETE is made
//! where it is sent. Which error applies is decided elsewhere.

mod field_error;

pub use field_error::{FieldError, FieldErrorKind, aggregate, quote};

use k8s_openapi::apimachinery::pkg::apis::meta::v1;
use std::fmt;

/// A failed request's answer. Boxed, so that `Result<_, Status>` stays small.
#[derive(Clone, Debug, PartialEq)]
pub struct Status(Box<v1::Status>);

impl std::error::Error for Status {}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.message())
    }
}

/// `services` or `deployments.apps`: how messages call a resource or kind.
pub fn qualified(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

fn details(group: &str, kind: &str, name: &str) -> v1::StatusDetails {
    let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    v1::StatusDetails { group: set(group), kind: set(kind), name: set(name), ..Default::default() }
}

impl Status {
    /// A failure with this HTTP code, reason and message, without details.
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self(Box::new(v1::Status {
            code: Some(i32::from(code)),
            reason: Some(reason.to_owned()),
            message: Some(message.into()),
            status: Some("Failure".to_owned()),
            ..Default::default()
        }))
    }

    /// Replaces the details.
    #[must_use]
    pub fn with_details(mut self, details: v1::StatusDetails) -> Self {
        self.0.details = Some(details);
        self
    }

    /// The HTTP code.
    pub fn code(&self) -> u16 {
        self.0.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(500)
    }

    /// The machine-readable reason, as `NotFound`.
    pub fn reason(&self) -> &str {
        self.0.reason.as_deref().unwrap_or_default()
    }

    /// The text for people.
    pub fn message(&self) -> &str {
        self.0.message.as_deref().unwrap_or_default()
    }

    /// The object that goes over the wire.
    pub fn object(&self) -> &v1::Status {
        &self.0
    }

    /// 404 for a named object that does not exist.
    pub fn not_found(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {} not found", qualified(group, plural), quote(name));
        Self::failure(404, "NotFound", message).with_details(details(group, plural, name))
    }

    /// 409 for a name that is taken.
    pub fn already_exists(group: &str, plural: &str, name: &str) -> Self {
        let message = format!("{} {} already exists", qualified(group, plural), quote(name));
        Self::failure(409, "AlreadyExists", message).with_details(details(group, plural, name))
    }

    /// 409 for a stale or contradictory write; `why` follows the colon.
    pub fn conflict(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let resource = qualified(group, plural);
        let message = format!("Operation cannot be fulfilled on {resource} {}: {why}", quote(name));
        Self::failure(409, "Conflict", message).with_details(details(group, plural, name))
    }

    /// 403 for a request that policy refuses; `name` may be empty.
    pub fn forbidden(group: &str, plural: &str, name: &str, why: &str) -> Self {
        let mut subject = qualified(group, plural);
        if !name.is_empty() {
            subject = format!("{subject} {}", quote(name));
        }
        Self::failure(403, "Forbidden", format!("{subject} is forbidden: {why}"))
            .with_details(details(group, plural, name))
    }

    /// 422 with one cause for each complaint; `kind` is the Kind, not the resource.
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Self {
        let mut message = format!("{} {} is invalid", qualified(group, kind), quote(name));
        if !errors.is_empty() {
            message = format!("{message}: {}", aggregate(errors));
        }
        let causes = errors.iter().map(|error| v1::StatusCause {
            reason: Some(error.kind.reason().to_owned()),
            message: Some(error.body()),
            field: Some(error.field.clone()),
        });
        let mut details = details(group, kind, name);
        details.causes = Some(causes.collect());
        Self::failure(422, "Invalid", message).with_details(details)
    }

    /// 400 for a request that cannot be understood.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 500 for a failure that is not the client's.
    pub fn internal(why: &str) -> Self {
        let cause = v1::StatusCause { message: Some(why.to_owned()), ..Default::default() };
        Self::failure(500, "InternalError", format!("Internal error occurred: {why}"))
            .with_details(v1::StatusDetails { causes: Some(vec![cause]), ..Default::default() })
    }
}
