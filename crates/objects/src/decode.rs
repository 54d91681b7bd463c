//! Reads the JSON of one object strictly: unknown and repeated fields are found, types are checked, and the result has only
//! known fields, in kube-apiserver's order, with the empty ones written or left out as it does.
//!
//! Texts are those of kube-apiserver (`sigs.k8s.io/json`, Go's encoding/json, apiserver's `transformDecodeError`). It knows shapes
//! only: defaults and rules come afterwards. What to do about unknown fields (`fieldValidation`) is the caller's choice.

mod canonical;
mod scalar;
mod visitor;

use crate::schema::{self, Message};
use serde::de::DeserializeSeed;
use serde_json::{Map, Value};
use visitor::{Findings, MessageSeed};

pub use canonical::{assemble, canonicalize};
pub use scalar::quantity;

/// An object read from a body.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    /// The object: `kind` and `apiVersion` first, only known fields, no nulls.
    pub object: Value,
    /// Complaints that only strict callers mind, in order: `unknown field "spec.prots"`, `duplicate field "x"`.
    pub strict: Vec<String>,
}

/// Why a body is no object of the kind. The text is the `message` of a 400 `BadRequest`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not a JSON object.
    #[error(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: {why} ({summary})"
    )]
    NotAnObject {
        /// Expected kind.
        kind: String,
        /// What the parser says.
        why: String,
        /// The body's first bytes.
        summary: String,
    },
    /// The object is of another kind, or a field has the wrong type.
    #[error("{kind} in version \"{version}\" cannot be handled as a {expected}: {why}")]
    Unfit {
        /// Kind that the object claims.
        kind: String,
        /// Version that the object claims, without the group, as upstream prints it.
        version: String,
        /// Kind that is expected here.
        expected: String,
        /// What does not fit.
        why: String,
    },
}

/// The text with which a strict request is refused, if there are complaints.
pub fn strict_error(group_version: &str, kind: &str, strict: &[String]) -> Option<String> {
    let (text, version) = (strict.join(", "), short_version(group_version));
    let refusal = format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {text}"
    );
    (!strict.is_empty()).then_some(refusal)
}

fn short_version(group_version: &str) -> &str {
    group_version.rsplit('/').next().unwrap_or_default()
}

/// Reads an object of `kind` in `group_version` (`v1`, `apps/v1`) from JSON. A body without kind or apiVersion is taken to
/// be of the expected kind, as upstream does.
///
/// # Errors
/// The body is not JSON, not an object, of another kind, or a field has the wrong type.
pub fn decode(group_version: &str, kind: &str, body: &[u8]) -> Result<Decoded, DecodeError> {
    let claimed = claim(kind, body)?;
    let unfit = |why: String| DecodeError::Unfit {
        kind: claimed.kind.clone().unwrap_or_else(|| kind.to_owned()),
        version: short_version(claimed.version.as_deref().unwrap_or(group_version)).to_owned(),
        expected: kind.to_owned(),
        why,
    };
    if claimed.kind.as_deref().is_some_and(|other| other != kind)
        || claimed.version.as_deref().is_some_and(|other| other != group_version)
    {
        return Err(unfit(claimed.mismatch(group_version, kind)));
    }
    let group = group_version.split_once('/').map_or("", |(group, _)| group);
    let Some(message) = schema::of_kind(group, kind) else {
        return Err(unfit(not_registered(kind, group_version)));
    };
    let (object, findings) = read(message, body).map_err(|error| unfit(error.to_string()))?;
    match findings.mismatch {
        Some(why) => Err(unfit(why)),
        None => Ok(Decoded { object: typed(group_version, kind, object), strict: findings.strict }),
    }
}

fn read(message: &'static Message, body: &[u8]) -> serde_json::Result<(Value, Findings)> {
    let mut findings = Findings::default();
    let mut parser = serde_json::Deserializer::from_slice(body);
    let object = MessageSeed::root(message, &mut findings).deserialize(&mut parser)?;
    parser.end()?;
    Ok((object.unwrap_or_else(|| Value::Object(Map::new())), findings))
}

/// Puts `kind` and `apiVersion` first.
fn typed(group_version: &str, kind: &str, object: Value) -> Value {
    let mut typed = Map::new();
    typed.insert("kind".to_owned(), Value::from(kind));
    typed.insert("apiVersion".to_owned(), Value::from(group_version));
    if let Value::Object(fields) = object {
        typed.extend(fields.into_iter().filter(|(name, _)| name != "kind" && name != "apiVersion"));
    }
    Value::Object(typed)
}

/// What an object says about itself; empty counts as nothing.
#[derive(Debug, Default)]
struct Claim {
    version: Option<String>,
    kind: Option<String>,
}

#[derive(serde::Deserialize)]
struct TypeMeta {
    #[serde(default, rename = "apiVersion")]
    version: Option<String>,
    #[serde(default)]
    kind: Option<String>,
}

impl Claim {
    fn mismatch(&self, group_version: &str, kind: &str) -> String {
        let version = self.version.as_deref().unwrap_or(group_version);
        let claimed = self.kind.as_deref().unwrap_or(kind);
        let group = version.split_once('/').map_or("", |(group, _)| group);
        match schema::of_kind(group, claimed) {
            Some(_) if version == group_version => {
                format!("converting (v1.{claimed}) to (core.{kind}): unknown conversion")
            }
            _ => not_registered(claimed, version),
        }
    }
}

fn not_registered(kind: &str, version: &str) -> String {
    format!(
        "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"pkg/runtime/scheme.go:111\""
    )
}

fn claim(kind: &str, body: &[u8]) -> Result<Claim, DecodeError> {
    let unrecognized =
        |why: String| DecodeError::NotAnObject { kind: kind.to_owned(), why, summary: summary(body) };
    let first = body.iter().copied().find(|byte| !byte.is_ascii_whitespace());
    let parsed = match first {
        Some(b'{') => first_type_meta(body).map_err(|error| unrecognized(syntax(&error)))?,
        Some(b'[') => return Err(unrecognized(not_type_meta("array"))),
        Some(b'"') => return Err(unrecognized(not_type_meta("string"))),
        _ => {
            return Err(unrecognized(match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
                Ok(_) => not_type_meta("value"),
                Err(error) => syntax(&error),
            }));
        }
    };
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Claim { version: given(parsed.version), kind: given(parsed.kind) })
}

/// Reads apiVersion and kind; a repeated one is reported later, by the strict pass.
fn first_type_meta(body: &[u8]) -> serde_json::Result<TypeMeta> {
    match serde_json::from_slice(body) {
        Err(error) if error.is_data() => {
            let value: Value = serde_json::from_slice(body)?;
            let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            Ok(TypeMeta { version: text("apiVersion"), kind: text("kind") })
        }
        other => other,
    }
}

fn not_type_meta(what: &str) -> String {
    let tag = |name: &str| format!("\"json:\\\"{name},omitempty\\\"\"");
    let (version, kind) = (tag("apiVersion"), tag("kind"));
    format!(
        "json: cannot unmarshal {what} into Go value of type struct {{ APIVersion string {version}; Kind string {kind} }}"
    )
}

fn syntax(error: &serde_json::Error) -> String {
    if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() }
}

/// The start of a body for an error text: as it is if it looks like JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(head)),
        Some(_) => head.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + more,
    }
}

#[cfg(test)]
mod tests;
