//! The control plane as its owner holds it: configuration in, one value out that serves, hands out clients and issues
//! certificates.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use tokio::net::TcpStream;

use crate::admission::Admission;
use crate::authority::{API_CLIENT_NAME, MASTERS};
use crate::http::server::{self, Tls};
use crate::http::{Api, Handler, upstream};
use crate::store::Store;
use crate::store::data_dir::DataDir;
use crate::{Authority, Error};

/// What a control plane is made with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where objects, revisions and the authority are kept; None keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// Addresses of Services.
    pub service_cidr: Ipv4Net,
    /// Domain of the cluster's names, such as `cluster.local`.
    pub dns_domain: String,
    /// Names by which the API is reached, besides `localhost` and the `kubernetes` Service's.
    pub server_names: Vec<String>,
    /// Addresses by which the API is reached, besides 127.0.0.1 and the `kubernetes` Service's.
    pub server_addresses: Vec<IpAddr>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: None,
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
            dns_domain: "cluster.local".to_owned(),
            server_names: Vec::new(),
            server_addresses: Vec::new(),
        }
    }
}

impl Config {
    /// Every name that the API's certificate holds.
    fn names(&self) -> Vec<String> {
        let service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
        let full = format!("kubernetes.default.svc.{}", self.dns_domain);
        service.into_iter().chain([full, "localhost".to_owned()]).chain(self.server_names.clone()).collect()
    }

    /// Every address that the API's certificate holds.
    fn addresses(&self) -> Vec<IpAddr> {
        let first = self.service_cidr.hosts().next().map(IpAddr::from);
        let fixed = [IpAddr::from(Ipv4Addr::LOCALHOST)];
        fixed.into_iter().chain(first).chain(self.server_addresses.clone()).collect()
    }
}

/// Connects to nodes, for exec and logs. The caller of [`ControlPlane::serve`] knows where they are: in the embedded
/// cluster another network namespace.
pub trait NodeDialer: Send + Sync + 'static {
    /// A connection to a node's server; TLS is spoken over it.
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// An embedded API server.
pub struct ControlPlane {
    authority: Authority,
    handler: Handler,
    tls: Tls,
    upstream: upstream::Tls,
    /// Keeps others out of it.
    _data_dir: Option<DataDir>,
}

impl ControlPlane {
    /// Opens or makes the state. Answers nothing yet and starts no thread.
    ///
    /// # Errors
    /// If the data directory is in use, not ours, damaged or not writable, or no certificate can be made.
    pub fn open(config: Config) -> Result<Self, Error> {
        let data_dir = config.data_dir.as_deref().map(DataDir::open).transpose()?;
        let (store, authority) = match &data_dir {
            Some(dir) => (Store::open(&dir.store_path()?)?, Authority::load_or_create(dir.path())?),
            None => (Store::in_memory(), Authority::generate()?),
        };
        let names = config.names();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let identity = authority.issue_server(&names, &config.addresses())?;
        let tls = Tls::new(&identity, authority.ca_pem())?;
        let upstream =
            upstream::Tls::new(&authority.issue_client(API_CLIENT_NAME, &[MASTERS])?, authority.ca_pem())?;
        let api = Api { store: Arc::new(store), admission: Admission::new(config.service_cidr) };
        Ok(Self { authority, handler: Handler::new(api), tls, upstream, _data_dir: data_dir })
    }

    /// Issues certificates of this cluster.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// A client of the API in this process, without a socket, as an administrator. Call it on a tokio runtime; it cannot
    /// exec or read logs.
    pub fn client(&self) -> kube::Client {
        crate::http::client(self.handler.clone())
    }

    /// Answers on `listener` until `shutdown` resolves; connections in flight then have a second to finish.
    ///
    /// # Errors
    /// If the listener cannot be used. What happens to a single connection is its own affair.
    pub async fn serve(
        &self,
        listener: std::net::TcpListener,
        dialer: Arc<dyn NodeDialer>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), Error> {
        let handler = self.handler.clone().with_nodes(upstream::Nodes::new(dialer, self.upstream.clone()));
        server::serve(listener, &self.tls, handler, shutdown).await
    }
}
