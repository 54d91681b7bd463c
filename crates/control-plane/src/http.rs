//! The API over HTTP: one `Handler` that turns a request into a response, behind TLS (`server`) or straight in
//! process (`client`).
//!
//! Every failure becomes a `Status` object with kube-apiserver's text; the handler itself never fails. It knows nothing of
//! sockets and keeps no state of its own: that is the store's.

pub(crate) mod server;
pub(crate) mod upstream;

mod answer;
mod body;
mod decode;
mod delete;
mod discovery;
mod events;
mod health;
mod negotiate;
mod openapi;
mod patch;
mod pod_stream;
mod query;
mod read;
mod request;
mod respond;
mod route;
mod strategy;
mod subresource;
mod user;
mod watch;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::admission::Admission;
use crate::store::Store;
pub(crate) use body::ResponseBody;
#[cfg(test)]
pub(crate) use strategy::carry_over;
pub(crate) use user::User;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// What every request works on.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) admission: Admission,
}

/// Answers requests. Cheap to clone; every clone is the same API.
#[derive(Clone)]
pub(crate) struct Handler {
    api: Api,
    nodes: Option<upstream::Nodes>,
    stopping: Option<tokio::sync::watch::Receiver<bool>>,
}

impl Handler {
    pub(crate) fn new(api: Api) -> Self {
        Self { api, nodes: None, stopping: None }
    }

    /// The same API, able to reach nodes for exec and logs.
    pub(crate) fn with_nodes(mut self, nodes: upstream::Nodes) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// The same API, whose watches end when `stopping` becomes true.
    pub(crate) fn with_stopping(mut self, stopping: tokio::sync::watch::Receiver<bool>) -> Self {
        self.stopping = Some(stopping);
        self
    }

    /// The answer to one request of `user` (None: no client certificate).
    pub(crate) async fn handle<B>(&self, user: Option<User>, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Error>,
    {
        let (parts, body) = request.into_parts();
        let line =
            tracing::enabled!(tracing::Level::DEBUG).then(|| format!("{} {}", parts.method, parts.uri));
        let response =
            self.answer(user.as_ref(), parts, body).await.unwrap_or_else(|status| body::status(&status));
        if let Some(line) = line {
            let who = user.as_ref().map_or("anonymous", |user| user.name.as_str());
            tracing::debug!(status = response.status().as_u16(), who, "{line}");
        }
        response
    }
}

/// A client whose requests go straight into `handler`, as an administrator.
pub(crate) fn client(handler: Handler) -> kube::Client {
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let handler = handler.clone();
        async move { Ok::<_, std::convert::Infallible>(handler.handle(Some(User::admin()), request).await) }
    });
    kube::Client::new(service, "default")
}
