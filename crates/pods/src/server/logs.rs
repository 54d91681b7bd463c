//! `GET /containerLogs/NAMESPACE/POD/CONTAINER`: plain text, as it comes.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use jiff::{SignedDuration, Timestamp};

use super::query::Query;
use super::{Body, text};
use crate::kubelet::{Record, State};
use crate::logs::{LogFile, Options, Reader};

/// Answers with the log of the container's current run, or of the one before.
pub(super) fn answer(record: &Record, query: Option<&str>, pod: &str) -> Response<Body> {
    let query = Query::parse(query);
    let options = match options(&query) {
        Ok(options) => options,
        Err(message) => return text(StatusCode::BAD_REQUEST, &message),
    };
    let name = &record.name;
    let Some(log) = choose(record, query.is_true("previous")) else {
        let message = match &record.state {
            _ if query.is_true("previous") => {
                format!("previous terminated container \"{name}\" in pod \"{pod}\" not found")
            }
            State::Waiting { reason, .. } => {
                // The kubelet's words for the two that are about images.
                let reason = match *reason {
                    "ErrImagePull" => "image can't be pulled",
                    "ImagePullBackOff" => "trying and failing to pull image",
                    other => other,
                };
                format!("container \"{name}\" in pod \"{pod}\" is waiting to start: {reason}")
            }
            _ => format!("container \"{name}\" in pod \"{pod}\" has no log"),
        };
        return text(StatusCode::BAD_REQUEST, &message);
    };
    match Reader::open(&log, options) {
        Ok(reader) => stream(reader),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot read the log: {error}")),
    }
}

/// "Previous" is the run before the current one; of a container that waits to be started again, the last.
fn choose(record: &Record, previous: bool) -> Option<Arc<LogFile>> {
    let waits = matches!(record.state, State::Waiting { .. });
    if previous && !waits { record.previous_log.clone() } else { record.log.clone() }
}

fn options(query: &Query) -> Result<Options, String> {
    let number = |name: &str| match query.first(name).filter(|text| !text.is_empty()) {
        None => Ok(None),
        Some(text) => {
            text.parse::<u32>().map(Some).map_err(|_| format!("{name}={text:?} is not a number of 0 or more"))
        }
    };
    let since_time = match query.first("sinceTime").filter(|text| !text.is_empty()) {
        None => None,
        Some(text) => Some(text.parse().map_err(|_| format!("sinceTime={text:?} is not an RFC 3339 time"))?),
    };
    let since = number("sinceSeconds")?
        .and_then(|seconds| Timestamp::now().checked_sub(SignedDuration::from_secs(seconds.into())).ok());
    Ok(Options {
        follow: query.is_true("follow"),
        tail_lines: number("tailLines")?.map(|lines| lines as usize),
        since: since.or(since_time),
        timestamps: query.is_true("timestamps"),
        limit_bytes: number("limitBytes")?.map(|bytes| bytes as usize),
    })
}

fn stream(reader: Reader) -> Response<Body> {
    let pieces = futures::stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(piece)) => Some((Ok(Frame::data(Bytes::from(piece))), Some(reader))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    });
    let mut response = Response::new(StreamBody::new(pieces).boxed_unsync());
    let plain = header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
