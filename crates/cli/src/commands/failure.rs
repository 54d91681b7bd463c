//! How a verb fails, in kubectl's words and with its exit codes.
//!
//! A server's Status is told as `Error from server (Reason): message`, an invalid object with one line per cause, our
//! own complaints as `error: …`. Everything ends with exit code 1 except a remote command, whose code is passed on.

use serde_json::Value;
use thiserror::Error;

/// The parts of a `meta/v1` Status that are told to the user.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerStatus {
    /// The server's sentence.
    pub(crate) message: String,
    /// The machine-readable reason, `NotFound`; empty if unknown.
    pub(crate) reason: String,
    /// HTTP status code.
    pub(crate) code: u16,
    /// `details`, as sent.
    pub(crate) details: Value,
}

impl ServerStatus {
    /// Reads a Status object, or takes the body as the message where a server (or a proxy) sent something else.
    pub(crate) fn from_body(code: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(status) if status["kind"] == "Status" => Self {
                message: status["message"].as_str().unwrap_or_default().to_owned(),
                reason: status["reason"].as_str().unwrap_or_default().to_owned(),
                code,
                details: status["details"].clone(),
            },
            _ => Self {
                message: String::from_utf8_lossy(body).trim().to_owned(),
                reason: reason_of_code(code).to_owned(),
                code,
                details: Value::Null,
            },
        }
    }

    fn told(&self) -> String {
        match self.reason.as_str() {
            "Invalid" => self.told_invalid(),
            "Unauthorized" => format!("error: You must be logged in to the server ({})", self.message),
            "" | "Unknown" => format!("Error from server: {}", self.message),
            reason => format!("Error from server ({reason}): {}", self.message),
        }
    }

    fn told_invalid(&self) -> String {
        let text = |key: &str| self.details[key].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let subject = if kind.is_empty() && name.is_empty() {
            "The request is invalid".to_owned()
        } else {
            format!("The {kind} {name:?} is invalid")
        };
        let mut causes: Vec<String> = Vec::new();
        for cause in self.details["causes"].as_array().into_iter().flatten() {
            let field = cause["field"].as_str().unwrap_or_default();
            let line = format!("{field}: {}", cause["message"].as_str().unwrap_or_default());
            if !causes.contains(&line) {
                causes.push(line);
            }
        }
        match causes.as_slice() {
            [] if kind.is_empty() && name.is_empty() => format!("{subject}: {}", self.message),
            [] => subject,
            [one] => format!("{subject}: {one}"),
            several => format!("{subject}: \n* {}", several.join("\n* ")),
        }
    }
}

fn reason_of_code(code: u16) -> &'static str {
    match code {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        409 => "Conflict",
        429 => "TooManyRequests",
        500 => "InternalError",
        503 => "ServiceUnavailable",
        _ => "",
    }
}

/// Why a verb ended without success.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The server refused.
    #[error("{}", .0.told())]
    Server(Box<ServerStatus>),
    /// Our own complaint.
    #[error("error: {0}")]
    Usage(String),
    /// A text of kubectl's that carries no `error:` in front.
    #[error("{0}")]
    Plain(String),
    /// A remote command ended with this code, or everything has been told already.
    #[error("exit code {0}")]
    Exit(u8),
    /// Whoever read our output has gone; nothing is left to say.
    #[error("output closed")]
    Closed,
}

impl Failure {
    /// `error: TEXT`.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// Whether the server said that the object is not there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Server(status) if status.code == 404)
    }

    /// Whether the server said that the object changed meanwhile.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Server(status) if status.reason == "Conflict")
    }

    /// The server's sentence without `Error from server`, for verbs that wrap it (`error: failed to create …: SENTENCE`).
    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Server(status) => status.message.clone(),
            Self::Usage(text) => text.clone(),
            other => other.to_string(),
        }
    }

    /// The same failure with words in front of the server's sentence.
    pub(crate) fn prefixed(self, words: &str) -> Self {
        match self {
            Self::Server(mut status) => {
                status.message = format!("{words}{}", status.message);
                Self::Server(status)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn statuses_are_told_in_kubectls_words() {
        let cases = [
            (
                404,
                json!({"kind": "Status", "message": "pods \"x\" not found", "reason": "NotFound"}),
                "Error from server (NotFound): pods \"x\" not found",
            ),
            (
                422,
                json!({"kind": "Status", "message": "long", "reason": "Invalid", "details": {"kind": "Service", "name": "x",
                "causes": [{"field": "spec.ports", "message": "Required value"}]}}),
                "The Service \"x\" is invalid: spec.ports: Required value",
            ),
            (
                422,
                json!({"kind": "Status", "message": "long", "reason": "Invalid", "details": {"kind": "Service", "name": "x",
                "causes": [{"field": "a", "message": "b"}, {"field": "c", "message": "d"}, {"field": "a", "message": "b"}]}}),
                "The Service \"x\" is invalid: \n* a: b\n* c: d",
            ),
            (500, json!("broken"), "Error from server (InternalError): \"broken\""),
        ];
        for (code, body, expected) in cases {
            let status = ServerStatus::from_body(code, body.to_string().as_bytes());
            assert_eq!(Failure::Server(Box::new(status)).to_string(), expected);
        }
    }
}
