//! Protobuf request bodies: kubectl 1.32 and later sends them for `create KIND` and does not fall back to JSON.
//!
//! A body is the magic `k8s\0` and a `runtime.Unknown`, which names the type and holds the message. Messages are read along the
//! same table of shapes as JSON, into the same written form, so nothing behind this module knows which it was. Answers are
//! always JSON, which every client accepts. Hostile bodies are refused: depth and number of messages are limited, and no
//! length is believed before the bytes are there.

mod message;
mod wire;

use serde_json::{Map, Value, json};

use crate::schema;
use crate::status::Status;
use message::Reader;
use wire::{Field, Fields, Payload};

const MAGIC: &[u8] = b"k8s\0";

/// Why a body cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ProtobufError {
    /// Not the API's protobuf at all.
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    /// Cut short, or a length beyond the end.
    #[error("unexpected EOF")]
    Truncated,
    /// Bytes that no encoder writes.
    #[error("invalid wire format: {0}")]
    Malformed(&'static str),
    /// A field that holds something else than its type.
    #[error("wrong wire type for field {0}")]
    WireType(&'static str),
    /// More of something than we are willing to hold.
    #[error("too many {0}")]
    TooMany(&'static str),
    /// A kind that is not served.
    #[error("no kind \"{kind}\" is registered for version \"{version}\"")]
    UnknownKind {
        /// Its name.
        kind: String,
        /// Its apiVersion.
        version: String,
    },
    /// Compressed, or not protobuf inside.
    #[error("content encoding \"{0}\" is not supported")]
    Encoding(String),
}

/// The object behind a body of `application/vnd.kubernetes.protobuf`, with `apiVersion` and `kind` from its envelope.
///
/// # Errors
/// 400, with the reason, for bytes that are no message of a kind that is served.
pub fn decode(body: &[u8]) -> Result<Value, Status> {
    read(body).map_err(|error| Status::bad_request(format!("the object provided is unrecognized: {error}")))
}

fn read(body: &[u8]) -> Result<Value, ProtobufError> {
    let envelope = Envelope::read(body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?)?;
    let group = envelope.version.split_once('/').map_or("", |(group, _)| group);
    let Some(message) = schema::of_kind(group, &envelope.kind) else {
        return Err(ProtobufError::UnknownKind { kind: envelope.kind, version: envelope.version });
    };
    let fields = Reader::default().message(message, envelope.raw)?;
    let mut object = Map::new();
    object.insert("kind".to_owned(), json!(envelope.kind));
    object.insert("apiVersion".to_owned(), json!(envelope.version));
    object.extend(fields);
    Ok(Value::Object(object))
}

/// `runtime.Unknown`.
#[derive(Default)]
struct Envelope<'b> {
    version: String,
    kind: String,
    raw: &'b [u8],
}

impl<'b> Envelope<'b> {
    fn read(bytes: &'b [u8]) -> Result<Self, ProtobufError> {
        let mut envelope = Self::default();
        for field in Fields::new(bytes) {
            match field? {
                Field { number: 1, payload: Payload::Bytes(type_meta) } => envelope.type_meta(type_meta)?,
                Field { number: 2, payload: Payload::Bytes(raw) } => envelope.raw = raw,
                Field { number: 3, payload: Payload::Bytes(encoding) } if !encoding.is_empty() => {
                    return Err(ProtobufError::Encoding(wire::text(encoding)?));
                }
                _ => {}
            }
        }
        Ok(envelope)
    }

    fn type_meta(&mut self, bytes: &[u8]) -> Result<(), ProtobufError> {
        for field in Fields::new(bytes) {
            match field? {
                Field { number: 1, payload: Payload::Bytes(version) } => self.version = wire::text(version)?,
                Field { number: 2, payload: Payload::Bytes(kind) } => self.kind = wire::text(kind)?,
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
