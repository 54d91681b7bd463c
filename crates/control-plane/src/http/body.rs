//! Bodies of responses: whole JSON documents, text, and streams.

use bytes::Bytes;
use futures::Stream;
use futures::stream::StreamExt;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use objects::status::Status;
use serde_json::Value;

use super::Error;

/// What every response carries.
pub(crate) type ResponseBody = UnsyncBoxBody<Bytes, Error>;

pub(super) const JSON: &str = "application/json";

/// A response with `bytes` of the media type.
pub(super) fn whole(
    code: StatusCode,
    media_type: &'static str,
    bytes: impl Into<Bytes>,
) -> Response<ResponseBody> {
    let body = Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync();
    typed(code, media_type, body)
}

/// A response whose body is sent piece by piece.
pub(super) fn streamed<S>(media_type: &'static str, stream: S) -> Response<ResponseBody>
where
    S: Stream<Item = Bytes> + Send + 'static,
{
    let frames = stream.map(|bytes| Ok::<_, Error>(Frame::data(bytes)));
    typed(StatusCode::OK, media_type, StreamBody::new(frames).boxed_unsync())
}

fn typed(code: StatusCode, media_type: &'static str, body: ResponseBody) -> Response<ResponseBody> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// A JSON document.
pub(super) fn json(code: StatusCode, value: &Value) -> Response<ResponseBody> {
    whole(code, JSON, value.to_string())
}

/// Plain text.
pub(super) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<ResponseBody> {
    whole(code, "text/plain; charset=utf-8", text)
}

/// A refusal.
pub(super) fn status(status: &Status) -> Response<ResponseBody> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(code, &status.to_json())
}
