//! The way to a node's own server, for logs and exec: TLS with the API's client certificate over a connection that the
//! [`NodeDialer`] makes.
//!
//! A request is passed on as it is, and so is the answer unless the node refuses; after an upgrade (exec) bytes are copied both ways without
//! looking at them, as kube-apiserver does.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use objects::status::Status;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::body::ResponseBody;
use super::server::{chain_and_key, roots};
use crate::{Error, Identity, NodeDialer};

/// Where nodes serve.
const PORT: u16 = 10250;
/// How much of the words of a refusal is told.
const REFUSAL_BYTES_MAX: usize = 2048;
/// How long a node may take to answer a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The API's certificate and whom it trusts, as a client of nodes.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    pub(crate) fn new(identity: &Identity, ca_pem: &str) -> Result<Self, Error> {
        let (chain, key) = chain_and_key(identity)?;
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_root_certificates(roots(ca_pem)?)
            .with_client_auth_cert(chain, key)
            .map_err(Error::Tls)?;
        Ok(Self { config: Arc::new(config) })
    }
}

/// How nodes are reached.
#[derive(Clone)]
pub(crate) struct Nodes {
    dialer: Arc<dyn NodeDialer>,
    tls: Tls,
}

impl Nodes {
    pub(crate) fn new(dialer: Arc<dyn NodeDialer>, tls: Tls) -> Self {
        Self { dialer, tls }
    }

    /// Asks the node at `address` for `path_and_query`; the answer's body is passed on as it comes.
    pub(super) async fn get(
        &self,
        address: IpAddr,
        path_and_query: &str,
    ) -> Result<Response<ResponseBody>, Status> {
        let response = self.send(address, path_and_query, &HeaderMap::new()).await?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()))
    }

    /// Passes on a request to switch protocols. `client` is the connection that will be switched.
    pub(super) async fn upgrade(
        &self,
        address: IpAddr,
        path_and_query: &str,
        headers: &HeaderMap,
        client: OnUpgrade,
    ) -> Result<Response<ResponseBody>, Status> {
        let mut response = self.send(address, path_and_query, headers).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()));
        }
        let node = hyper::upgrade::on(&mut response);
        tokio::spawn(join(client, node));
        Ok(response.map(|_| Empty::new().map_err(|never| match never {}).boxed_unsync()))
    }

    async fn send(
        &self,
        address: IpAddr,
        path_and_query: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Incoming>, Status> {
        let unreachable = |error: &dyn std::fmt::Display| {
            Status::internal(format!("error dialing backend: dial tcp {address}:{PORT}: {error}"))
        };
        let connecting = timeout(CONNECT, self.connect(address));
        let mut sender = connecting.await.map_err(|e| unreachable(&e))?.map_err(|e| unreachable(&e))?;
        let mut request =
            Request::builder().method(Method::GET).uri(path_and_query).header(HOST, address.to_string());
        for (name, value) in headers.iter().filter(|(name, _)| is_passed_on(name)) {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| unreachable(&e))?;
        sender.send_request(request).await.map_err(|e| unreachable(&e))
    }

    async fn connect(&self, address: IpAddr) -> Result<http1::SendRequest<Empty<Bytes>>, super::Error> {
        let stream = self.dialer.dial(SocketAddr::new(address, PORT)).await?;
        let connector = TlsConnector::from(Arc::clone(&self.tls.config));
        let stream = connector.connect(ServerName::from(address), stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "connection to a node ended");
            }
        });
        Ok(sender)
    }
}

/// A node refuses in plain text; clients of the API expect a Status (apiserver's `GenericHttpResponseChecker`).
async fn refusal(response: Response<Incoming>) -> Status {
    let code = response.status();
    let text = match Limited::new(response.into_body(), REFUSAL_BYTES_MAX).collect().await {
        Ok(body) => String::from_utf8_lossy(&body.to_bytes()).trim().to_owned(),
        Err(error) => format!("the node answered {code}: {error}"),
    };
    if code.is_server_error() { Status::internal(text) } else { Status::bad_request(text) }
}

/// What belongs to the switch of protocols; everything else is between the client and the API.
fn is_passed_on(name: &http::HeaderName) -> bool {
    *name == CONNECTION || *name == UPGRADE || name.as_str().starts_with("sec-websocket-")
}

/// Copies both ways until one side ends.
async fn join(client: OnUpgrade, node: OnUpgrade) {
    let (client, node) = match tokio::try_join!(client, node) {
        Ok(both) => both,
        Err(error) => return debug!(%error, "the switch of protocols did not happen"),
    };
    let (mut client, mut node) = (TokioIo::new(client), TokioIo::new(node));
    if let Err(error) = copy_bidirectional(&mut client, &mut node).await {
        debug!(%error, "a stream between client and node ended");
    }
}
