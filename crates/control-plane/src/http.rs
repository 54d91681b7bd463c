//! The API over HTTP: one [`Handler`] that turns a request into a response, behind TLS ([`server`]) or straight in
//! process ([`client`]).
//!
//! Every failure becomes a `Status` object with kube-apiserver's text; the handler itself never fails. It knows nothing of
//! sockets and keeps no state of its own: that is the store's.

pub(crate) mod server;
pub(crate) mod upstream;

mod body;
mod health;
mod user;

use bytes::Bytes;
use http::{Request, Response};
use objects::status::Status;

pub(crate) use body::ResponseBody;
pub(crate) use user::User;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Answers requests. Cheap to clone; every clone is the same API.
#[derive(Clone)]
pub(crate) struct Handler {
    nodes: Option<upstream::Nodes>,
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self { nodes: None }
    }

    /// The same API, able to reach nodes for exec and logs.
    pub(crate) fn with_nodes(mut self, nodes: upstream::Nodes) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// The answer to one request of `user` (None: no client certificate).
    pub(crate) async fn handle<B>(&self, user: Option<User>, request: Request<B>) -> Response<ResponseBody>
    where
        B: http_body::Body<Data = Bytes> + Send,
        B::Error: Into<Error>,
    {
        let (parts, body) = request.into_parts();
        self.answer(user, parts, body).await.unwrap_or_else(|status| body::status(&status))
    }

    async fn answer<B>(
        &self,
        user: Option<User>,
        parts: http::request::Parts,
        _body: B,
    ) -> Result<Response<ResponseBody>, Status> {
        if let Some(response) = health::answer(parts.uri.path()) {
            return Ok(response);
        }
        user.ok_or_else(Status::unauthorized)?;
        Err(Status::unknown_path())
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
