//! Bodies of requests: read up to a limit, and turned into JSON whatever they were written in.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use objects::protobuf;
use objects::status::Status;

use super::Error;

/// Longest body that is read, as upstream's.
pub(super) const MAX_BODY: usize = 3 * 1024 * 1024;

pub(super) const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const OBJECTS: &[&str] = &[JSON, YAML, PROTOBUF];

/// The whole body.
pub(super) async fn read<B>(body: B) -> Result<Bytes, Status>
where
    B: http_body::Body<Data = Bytes> + Send,
    B::Error: Into<Error>,
{
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Status::too_large(MAX_BODY)),
        Err(error) => Err(Status::bad_request(format!("the request's body ended early: {error}"))),
    }
}

/// The media type without its parameters; JSON if there is none.
pub(super) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or(JSON);
    match value.split(';').next().unwrap_or_default().trim() {
        "" | "*/*" => JSON,
        other => other,
    }
}

/// The body as JSON, unchanged where it is JSON already, so that repeated fields can still be seen.
pub(super) fn to_json(headers: &HeaderMap, body: &Bytes) -> Result<Bytes, Status> {
    match media_type(headers) {
        JSON => Ok(body.clone()),
        YAML | "application/x-yaml" | "text/yaml" => yaml(body),
        PROTOBUF => Ok(protobuf::decode(body)?.to_string().into()),
        _ => Err(Status::unsupported_media_type(OBJECTS)),
    }
}

/// The one object in a YAML body, as JSON.
fn yaml(body: &[u8]) -> Result<Bytes, Status> {
    let refused =
        |why: &dyn std::fmt::Display| Status::bad_request(format!("error parsing the body as YAML: {why}"));
    let text = std::str::from_utf8(body).map_err(|e| refused(&e))?;
    let objects = objects::manifest::parse(text).map_err(|e| refused(&e))?;
    match objects.as_slice() {
        [object] => Ok(object.to_string().into()),
        many => Err(refused(&format!("it holds {} objects, one is expected", many.len()))),
    }
}
