//! The way to a node's own server (logs and exec): TLS with the API's client certificate over a connection that the
//! [`NodeDialer`] makes.

use std::sync::Arc;

use rustls::ClientConfig;

use super::server::{chain_and_key, roots};
use crate::{Error, Identity, NodeDialer};

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
}
