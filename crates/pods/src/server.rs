//! The node's own server on port 10250: container logs and exec, for the API only.
//!
//! TLS on the wire; the client must show a certificate of the cluster's authority with the common name
//! [`CLIENT_NAME`]. Everything else a kubelet serves is left out, and answered with 404.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::config::SERVER_PORT;
use crate::kubelet::{Node, Record};

mod exec;
mod logs;
mod query;
mod session;
mod terminal;
mod tls;

pub use tls::Error;

/// Common name of the API's client certificate.
pub const CLIENT_NAME: &str = "kube-apiserver-kubelet-client";

/// Connections at one time; further ones wait.
const CONNECTIONS: usize = 256;

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A bound server that does not answer yet.
pub(crate) struct Server {
    node: Arc<Node>,
    listener: std::net::TcpListener,
    acceptor: TlsAcceptor,
}

impl Server {
    /// Binds the node's address.
    pub(crate) fn bind(node: Arc<Node>) -> Result<Self, Error> {
        let address = SocketAddr::from((node.config.address.addr(), SERVER_PORT));
        let acceptor = tls::acceptor(&node.config)?;
        let bound = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        let listener = bound.map_err(|source| Error::Bind { address, source })?;
        Ok(Self { node, listener, acceptor })
    }

    /// Answers until dropped.
    pub(crate) async fn run(self) {
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "the node's server does not run");
                return;
            }
        };
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let (node, acceptor) = (Arc::clone(&self.node), self.acceptor.clone());
                    tokio::spawn(async move {
                        if let Err(error) = converse(node, acceptor, stream).await {
                            tracing::debug!(%peer, %error, "connection to the node's server failed");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the node's server cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn converse(node: Arc<Node>, acceptor: TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = acceptor.accept(stream).await?;
    let allowed = tls::is_the_api(stream.get_ref().1);
    let service = service_fn(move |request| {
        let node = Arc::clone(&node);
        async move {
            Ok::<_, Infallible>(match allowed {
                true => route(node, request).await,
                false => text(StatusCode::FORBIDDEN, "only the API server may ask a node"),
            })
        }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    connection.await.map_err(std::io::Error::other)
}

async fn route(node: Arc<Node>, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let is_get = request.method() == Method::GET;
    match parts.as_slice() {
        ["healthz"] => text(StatusCode::OK, "ok"),
        ["containerLogs", namespace, pod, container] if is_get => {
            match node.registry.find(namespace, pod, container) {
                Some(record) => logs::answer(&record, request.uri().query(), pod),
                None => text(StatusCode::NOT_FOUND, &missing(container)),
            }
        }
        ["exec", namespace, pod, container] if is_get || request.method() == Method::POST => {
            let running = match node.registry.find(namespace, pod, container) {
                Some(Record { running: Some(running), .. }) => Ok(running),
                _ => Err(missing(container)),
            };
            exec::answer(node, running, request)
        }
        _ => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

fn missing(container: &str) -> String {
    format!("container not found (\"{container}\")")
}

fn text(status: StatusCode, text: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(text.to_owned())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
