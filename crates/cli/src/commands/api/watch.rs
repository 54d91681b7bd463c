//! Watches: a stream of `{type, object}` lines.

use bytes::{Buf, BytesMut};
use futures::StreamExt;
use http::Method;
use http_body_util::{BodyDataStream, BodyExt as _};
use kube::client::Body;
use serde_json::Value;

use super::{
    super::failure::{Failure, ServerStatus},
    Session,
};

/// One line of a watch may be at most this long; an object is at most 3 MB.
const LINE_BYTES_MAX: usize = 8 << 20;

/// A running watch.
pub(crate) struct Watch {
    body: BodyDataStream<Body>,
    buffer: BytesMut,
}

impl Watch {
    /// Starts a watch of a path that carries `watch=true` already.
    pub(crate) async fn start(session: &Session, path: &str, accept: &str) -> Result<Self, Failure> {
        let response = session.send(Method::GET, path, accept, None).await?;
        Ok(Self { body: response.into_body().into_data_stream(), buffer: BytesMut::new() })
    }

    /// The next event, `("ADDED", object)`; `None` when the server ended the watch. An ERROR event is a failure.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Value)>, Failure> {
        let Some(line) = self.next_line().await? else { return Ok(None) };
        let event: Value = serde_json::from_slice(&line)
            .map_err(|error| Failure::usage(format!("an event of the watch is no JSON: {error}")))?;
        let object = event["object"].clone();
        if event["type"] == "ERROR" {
            let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
            return Err(Failure::Server(Box::new(ServerStatus::from_body(
                code,
                object.to_string().as_bytes(),
            ))));
        }
        Ok(Some((event["type"].as_str().unwrap_or_default().to_owned(), object)))
    }

    async fn next_line(&mut self) -> Result<Option<BytesMut>, Failure> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end);
                self.buffer.advance(1);
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(Some(line));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(Failure::usage("an event of the watch is longer than 8 MiB"));
            }
            match self.body.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(_)) | None if self.buffer.is_empty() => return Ok(None),
                Some(Err(_)) | None => {
                    // Servers may end the last event without a newline.
                    return Ok(Some(self.buffer.split()));
                }
            }
        }
    }
}
