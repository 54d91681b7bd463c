//! `GET /exec/NAMESPACE/POD/CONTAINER`: the WebSocket handshake of the channel protocols v5 and v4.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::query::Query;
use super::session::{self, Wishes};
use super::{Body, text};
use crate::kubelet::{Node, Running};

/// Newest first. v5 adds closing a single stream, which is how standard input ends.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// Upgrades the connection and runs the session on it. That a container does not run is told in the session: a client
/// that is refused the upgrade would try an older protocol, and then report that instead.
pub(super) fn answer(
    node: Arc<Node>,
    container: Result<Running, String>,
    request: Request<Incoming>,
) -> Response<Body> {
    let query = Query::parse(request.uri().query());
    // The kubelet's own names, and the API's.
    let wishes = Wishes {
        command: query.all("command"),
        stdin: query.is_true("input") || query.is_true("stdin"),
        stdout: query.is_true("output") || query.is_true("stdout"),
        stderr: query.is_true("error") || query.is_true("stderr"),
        tty: query.is_true("tty"),
    };
    if wishes.command.is_empty() {
        return text(StatusCode::BAD_REQUEST, "you must specify a command");
    }
    if !(wishes.stdin || wishes.stdout || wishes.stderr) {
        return text(StatusCode::BAD_REQUEST, "you must specify at least 1 of stdin, stdout, stderr");
    }
    let (Some(key), Some(protocol)) = (key(request.headers()), protocol(request.headers())) else {
        return text(StatusCode::BAD_REQUEST, "unable to upgrade: WebSocket with v5.channel.k8s.io expected");
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        match hyper::upgrade::on(request).await {
            Ok(upgraded) => {
                let io = TokioIo::new(upgraded);
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                session::run(node, container, wishes, socket).await;
            }
            Err(error) => tracing::debug!(%error, "exec connection not upgraded"),
        }
    });
    switching(&accept, protocol)
}

fn switching(accept: &str, protocol: &'static str) -> Response<Body> {
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.clear();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// The handshake's key, if this is one (RFC 6455 §4.2.1).
fn key(headers: &HeaderMap) -> Option<String> {
    let has = |name: header::HeaderName, word: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|value| value.trim().eq_ignore_ascii_case(word))
    };
    let is_handshake = has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    is_handshake.then(|| key.to_owned())
}

fn protocol(headers: &HeaderMap) -> Option<&'static str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let offered: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    PROTOCOLS.into_iter().find(|protocol| offered.contains(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_common_protocol_is_chosen() {
        let cases = [
            (vec!["v5.channel.k8s.io"], Some("v5.channel.k8s.io")),
            (vec!["v4.channel.k8s.io,v5.channel.k8s.io"], Some("v5.channel.k8s.io")),
            (vec!["base64.channel.k8s.io", "v4.channel.k8s.io"], Some("v4.channel.k8s.io")),
            (vec!["base64.channel.k8s.io"], None),
            (vec![], None),
        ];
        for (offers, expected) in cases {
            let mut headers = HeaderMap::new();
            for offer in &offers {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(offer));
            }
            assert_eq!(protocol(&headers), expected, "{offers:?}");
        }
    }
}
