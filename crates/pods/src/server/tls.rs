//! Who may speak to the node: TLS with client certificates of the cluster's authority.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::CLIENT_NAME;
use crate::config::NodeConfig;

/// Why the node's server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port.
    #[error("cannot listen on {address}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A certificate or key that the node was given.
    #[error("the node was given a bad {what}")]
    Pem {
        /// Which.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The combination of them.
    #[error("the node's certificates do not work together")]
    Tls(#[source] rustls::Error),
    /// The authority.
    #[error("the cluster's authority cannot verify clients")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// TLS as the node's configuration says.
pub(super) fn acceptor(config: &NodeConfig) -> Result<TlsAcceptor, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&config.ca_pem, "authority")? {
        roots.add(certificate).map_err(Error::Tls)?;
    }
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(Error::Verifier)?;
    let key = PrivateKeyDer::from_pem_slice(config.server_key_pem.as_bytes())
        .map_err(|source| Error::Pem { what: "server key", source })?;
    let chain = certificates(&config.server_cert_pem, "server certificate")?;
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)
        .map_err(Error::Tls)?;
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn certificates(pem: &str, what: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Pem { what, source })
}

/// The verified client certificate is the API's: no node or user of the cluster may exec by way of the node.
pub(super) fn is_the_api(connection: &ServerConnection) -> bool {
    let Some(certificate) = connection.peer_certificates().and_then(<[_]>::first) else {
        return false;
    };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return false;
    };
    let mut names = certificate.subject().iter_common_name();
    names.next().and_then(|name| name.as_str().ok()) == Some(CLIENT_NAME)
}
