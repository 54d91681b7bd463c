//! Listening: TCP, TLS with optional client certificates, HTTP/1.1 and HTTP/2.
//!
//! A connection that cannot finish its handshake within [`HANDSHAKE`] is dropped; beyond [`MAX_CONNECTIONS`] new ones wait
//! in the kernel's queue. A client without a certificate is let in, for the paths that anybody may ask.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use super::{Handler, User};
use crate::{Error, Identity};

const HANDSHAKE: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: usize = 2048;
/// After a failed accept (no file descriptors left), wait instead of spinning.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long connections may finish after the shutdown has begun.
const GRACE: Duration = Duration::from_secs(1);

/// The server's certificate and whom it trusts.
#[derive(Clone)]
pub(crate) struct Tls {
    acceptor: TlsAcceptor,
}

impl Tls {
    pub(crate) fn new(identity: &Identity, ca_pem: &str) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca_pem)?), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|e| Error::Tls(rustls::Error::General(e.to_string())))?;
        let (chain, key) = chain_and_key(identity)?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(Error::Tls)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(Error::Tls)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// The authority as the only root of trust.
pub(super) fn roots(ca_pem: &str) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(not_pem)?;
    roots.add(ca).map_err(Error::Tls)?;
    Ok(roots)
}

/// What rustls takes for an identity.
pub(super) fn chain_and_key(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), Error> {
    let cert = CertificateDer::from_pem_slice(identity.cert_pem.as_bytes()).map_err(not_pem)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).map_err(not_pem)?;
    Ok((vec![cert], key))
}

fn not_pem(error: rustls_pki_types::pem::Error) -> Error {
    Error::Tls(rustls::Error::General(error.to_string()))
}

/// Answers on `listener` until `shutdown` resolves.
pub(crate) async fn serve(
    listener: std::net::TcpListener,
    tls: &Tls,
    handler: Handler,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    listener.set_nonblocking(true).map_err(Error::Listen)?;
    let listener = TcpListener::from_std(listener).map_err(Error::Listen)?;
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let (stop, stopping) = watch::channel(false);
    let handler = handler.with_stopping(stopping.clone());
    let accept = async {
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            };
            let connection = connection(stream, tls.clone(), handler.clone(), stopping.clone());
            tokio::spawn(async move {
                connection.await;
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    stop.send_replace(true);
    let every = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
    // Watches have no end of their own: what is still open after the grace ends with the runtime.
    let _ = timeout(GRACE, slots.acquire_many(every)).await;
    Ok(())
}

/// One connection, from handshake to close.
async fn connection(stream: TcpStream, tls: Tls, handler: Handler, mut stopping: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, tls.acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "TLS handshake failed"),
        Err(_) => return debug!("TLS handshake took too long"),
    };
    let user = user_of(&stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let (handler, user) = (handler.clone(), user.clone());
        async move { Ok::<_, std::convert::Infallible>(handler.handle(user, request).await) }
    });
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut connection =
        std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stopped(&mut stopping) => {
            connection.as_mut().graceful_shutdown();
            timeout(GRACE, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = outcome {
        debug!(%error, "connection ended");
    }
}

fn user_of(stream: &TlsStream<TcpStream>) -> Option<User> {
    let certificates = stream.get_ref().1.peer_certificates()?;
    User::from_certificate(certificates.first()?)
}

/// Resolves when the server stops. (The guard that `wait_for` gives must not live across an await.)
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}
