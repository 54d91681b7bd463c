//! Requests to a Kubernetes API: plain JSON over `kube::Client`, one function per HTTP method.
//!
//! Bodies are `serde_json::Value` in the server's own key order, so that what is printed is what was sent. A Status
//! answer becomes a `Failure`, a `Warning` header a line on standard error. Knows paths, not what verbs mean.

pub(crate) mod discovery;
pub(crate) mod query;
pub(crate) mod resource;
pub(crate) mod watch;

use std::{cell::RefCell, collections::HashSet};

use http::{Method, Request, Response, header};
use http_body_util::BodyExt as _;
use kube::client::{Body, Client};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{
    connect::ConnectFlags,
    failure::{Failure, ServerStatus},
    output,
};
use crate::causes::chain;
use discovery::Discovery;

/// Accept value that asks for the server's own columns.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
/// Accept value for objects as they are.
pub(crate) const JSON: &str = "application/json";

/// The body formats of PATCH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchKind {
    /// RFC 7396.
    Merge,
    /// Kubernetes' own, with merge keys.
    Strategic,
    /// RFC 6902.
    Json,
}

impl PatchKind {
    fn content_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }
}

/// One API server, as one user, with the namespace that the flags or the context name.
pub(crate) struct Session {
    client: Client,
    /// `https://host:port/`, for messages.
    pub(crate) server: String,
    /// Namespace of requests that name none.
    pub(crate) namespace: String,
    /// Whether the user said `-n`.
    pub(crate) namespace_given: bool,
    discovery: OnceCell<Discovery>,
    warned: RefCell<HashSet<String>>,
}

impl Session {
    /// Prepares the client; nothing is sent yet.
    pub(crate) async fn open(flags: &ConnectFlags) -> Result<Self, Failure> {
        // Fails only if a provider is installed already, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = flags.config().await?;
        let server = config.cluster_url.to_string();
        let namespace = flags.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|error| Failure::usage(chain(&error)))?;
        Ok(Self {
            client,
            server,
            namespace,
            namespace_given: flags.namespace.is_some(),
            discovery: OnceCell::new(),
            warned: RefCell::default(),
        })
    }

    /// The client, for protocols beyond requests (exec).
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the server serves; asked once.
    pub(crate) async fn discovery(&self) -> Result<&Discovery, Failure> {
        self.discovery.get_or_try_init(|| Discovery::read(self)).await
    }

    /// GET of an object or list.
    pub(crate) async fn get(&self, path: &str, accept: &str) -> Result<Value, Failure> {
        self.request(Method::GET, path, accept, None).await
    }

    /// GET of any path, as the server sends it.
    pub(crate) async fn get_bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        collect(self.send(Method::GET, path, "*/*", None).await?).await
    }

    /// POST of an object.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.request(Method::POST, path, JSON, Some((JSON, body))).await
    }

    /// PATCH of an object.
    pub(crate) async fn patch(&self, path: &str, kind: PatchKind, body: &Value) -> Result<Value, Failure> {
        self.request(Method::PATCH, path, JSON, Some((kind.content_type(), body))).await
    }

    /// DELETE of an object, with its DeleteOptions.
    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<Value, Failure> {
        self.request(Method::DELETE, path, JSON, Some((JSON, options))).await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Value, Failure> {
        let bytes = collect(self.send(method, path, accept, body).await?).await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::usage(format!("the answer of the server to {path} is no JSON: {error}"))
        })
    }

    /// Sends a request and returns the response with its body still to be read, once it is known to be no error.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, &Value)>,
    ) -> Result<Response<Body>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, accept)
            .header(header::USER_AGENT, concat!("sluice/", env!("CARGO_PKG_VERSION")));
        if let Some((content_type, _)) = body {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        let bytes = body.map(|(_, value)| value.to_string().into_bytes()).unwrap_or_default();
        let request =
            request.body(Body::from(bytes)).map_err(|error| Failure::usage(format!("{path}: {error}")))?;
        let response = self.client.send(request).await.map_err(|error| self.unreachable(&error))?;
        self.tell_warnings(&response);
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status().as_u16();
        let body = collect(response).await?;
        Err(Failure::Server(Box::new(ServerStatus::from_body(code, &body))))
    }

    fn tell_warnings(&self, response: &Response<Body>) {
        for value in response.headers().get_all(header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning_text) else { continue };
            if self.warned.borrow_mut().insert(text.clone()) {
                output::warning(&text);
            }
        }
    }

    /// Tells why the server could not be spoken to, in kubectl's words.
    pub(crate) fn unreachable(&self, error: &kube::Error) -> Failure {
        let text = chain(error);
        if text.contains("Connection refused") {
            let host = self.server.split("//").last().unwrap_or_default().trim_end_matches('/');
            return Failure::Plain(format!(
                "The connection to the server {host} was refused - did you specify the right host or port?"
            ));
        }
        Failure::Plain(format!("Unable to connect to the server: {text}"))
    }
}

async fn collect(response: Response<Body>) -> Result<Vec<u8>, Failure> {
    let body = response.into_body().collect().await;
    let body =
        body.map_err(|error| Failure::usage(format!("the answer of the server broke off: {error}")))?;
    Ok(body.to_bytes().to_vec())
}

/// The text of `299 - "text"` (RFC 7234 §5.5); `None` for what is not a warning of this kind.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once(' ')?.1.trim();
    let inner = quoted.strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = inner.chars();
    loop {
        match characters.next()? {
            '"' => return Some(text),
            '\\' => text.push(characters.next()?),
            other => text.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::warning_text;

    #[test]
    fn warnings_are_unquoted() {
        let cases = [
            (r#"299 - "v1 Endpoints is deprecated""#, Some("v1 Endpoints is deprecated")),
            (r#"299 - "unknown field \"spec.prots\"""#, Some("unknown field \"spec.prots\"")),
            (r#"199 - "other""#, None),
            (r#"299 - "open"#, None),
        ];
        for (header, expected) in cases {
            assert_eq!(warning_text(header).as_deref(), expected, "{header}");
        }
    }
}
