//! DNS over TLS to upstreams (RFC 7858): certificates are always checked, against the authority that is named or the
//! system's.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::ChainError;
use crate::corefile::Tls;

/// Where Linux distributions keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Speaks TLS with one upstream.
#[derive(Clone)]
pub(crate) struct Connector {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        self.connector.connect(self.name.clone(), stream).await
    }

    /// For the server of this name, or of this address when it has none.
    pub(super) fn new(
        config: &Arc<ClientConfig>,
        name: Option<&str>,
        address: std::net::IpAddr,
    ) -> Result<Self, ChainError> {
        let name = match name {
            None => ServerName::IpAddress(address.into()),
            Some(name) => {
                ServerName::try_from(name.to_owned()).map_err(|_| ChainError::ServerName(name.into()))?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::clone(config)), name })
    }
}

/// What the Corefile says about certificates, read from its files.
pub(super) fn client_config(tls: &Tls) -> Result<Arc<ClientConfig>, ChainError> {
    let mut roots = RootCertStore::empty();
    let system = || SYSTEM_AUTHORITIES.map(Path::new).into_iter().find(|path| path.exists());
    let Some(authorities) = tls.authority.as_deref().or_else(system) else {
        return Err(ChainError::NoAuthorities);
    };
    for certificate in certificates(authorities)? {
        // One that is malformed is left out, as browsers do; without any, every handshake fails by name.
        let _ = roots.add(certificate);
    }
    // Named, because other crates of a program may bring a second provider.
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(ChainError::Tls)?.with_root_certificates(roots);
    let config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some([certificate, key]) => {
            let failed =
                |error| ChainError::Certificate { file: key.clone(), source: io::Error::other(error) };
            let private = PrivateKeyDer::from_pem_file(key).map_err(failed)?;
            let failed =
                |error| ChainError::Certificate { file: key.clone(), source: io::Error::other(error) };
            builder.with_client_auth_cert(certificates(certificate)?, private).map_err(failed)?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ChainError> {
    let failed = |error| ChainError::Certificate { file: file.into(), source: io::Error::other(error) };
    CertificateDer::pem_file_iter(file).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)
}
