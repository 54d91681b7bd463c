//! The node's part of Kubernetes: registers the Node, watches its pods, runs them and reports on them.
//!
//! One task follows the API and gives each pod a worker of its own (`worker`); a pod's containers are actors that
//! write into shared records (`record`), from which the status is computed (`status`) and patched whenever it
//! differs from what was written last. Nothing polls. What it refuses: images that are not built in, host
//! namespaces, volumes that reach the host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::cgroup::{self, Hierarchy};
use crate::config::NodeConfig;
use crate::runner::launch::Launcher;

mod addresses;
mod backoff;
mod container;
mod environment;
mod etc;
mod events;
mod lifecycle;
mod limits;
mod peers;
mod pod;
mod probes;
mod quantity;
mod record;
mod registration;
mod registry;
mod services;
mod start;
mod status;
mod stop;
mod volumes;
mod watch;
mod worker;

pub(crate) use record::{Record, Running, State};

/// How long a node that stops waits for its pods.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its folder.
    #[error("cannot prepare the node's folder {path}")]
    StateDir {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The thread that starts containers.
    #[error("cannot start the thread that starts containers")]
    Launcher(#[source] std::io::Error),
    /// The node's server.
    #[error("cannot serve logs and exec of node {name}")]
    Server {
        /// The node.
        name: String,
        /// Why.
        #[source]
        source: crate::server::Error,
    },
    /// The Node object.
    #[error("cannot register node {name} with the API")]
    Register {
        /// The node.
        name: String,
        /// The API's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

/// What all pods of a node share.
pub(crate) struct Node {
    pub(crate) config: NodeConfig,
    pub(crate) client: kube::Client,
    pub(crate) launcher: Launcher,
    pub(crate) recorder: events::Recorder,
    pub(crate) services: services::Services,
    pub(crate) addresses: Arc<addresses::Addresses>,
    pub(crate) registry: registry::Registry,
    pub(crate) cgroups: Hierarchy,
    /// Held by each pod that has something to end.
    pub(crate) lives: Arc<()>,
    /// The empty folder on which container roots are put together.
    pub(crate) staging: PathBuf,
}

/// Runs a node until `shutdown` resolves; its containers end with the process. The process must stand in the node's network
/// namespace, addressed by [`crate::network::node::configure`].
///
/// # Errors
/// What kept the node from starting. Later trouble with the API is retried, and logged.
pub async fn run(
    config: NodeConfig,
    client: kube::Client,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let staging = prepare(&config)?;
    let launcher = Launcher::start().map_err(Error::Launcher)?;
    let cgroups = Hierarchy::detect();
    cgroup::remove_stale(&cgroups);
    let (recorder, writer) = events::recorder(client.clone(), config.name.clone());
    let node = Arc::new(Node {
        addresses: addresses::Addresses::new(config.pod_cidr),
        services: services::Services::default(),
        registry: registry::Registry::default(),
        cgroups,
        lives: Arc::new(()),
        recorder,
        launcher,
        staging,
        client: client.clone(),
        config,
    });
    let name = || node.config.name.clone();
    let server = crate::server::Server::bind(Arc::clone(&node))
        .map_err(|source| Error::Server { name: name(), source })?;
    registration::register(&client, &node.config)
        .await
        .map_err(|source| Error::Register { name: name(), source: Box::new(source) })?;
    let mut tasks = JoinSet::new();
    tasks.spawn(writer.run());
    tasks.spawn(server.run());
    tasks.spawn(registration::keep_alive(client.clone(), name()));
    let (stands, standing) = tokio::sync::watch::channel(true);
    tasks.spawn(peers::run(client.clone(), name(), stands));
    tasks.spawn(registration::keep_standing(Arc::clone(&node), standing));
    tasks.spawn({
        let node = Arc::clone(&node);
        async move { node.services.follow(client).await }
    });
    tasks.spawn(watch::run(Arc::clone(&node)));
    shutdown.await;
    tasks.shutdown().await;
    pods_ended(&node).await;
    Ok(())
}

/// With the workers gone every pod ends its containers at once; what takes longer than [`FAREWELL`] dies with the process.
async fn pods_ended(node: &Node) {
    let deadline = tokio::time::Instant::now() + FAREWELL;
    while Arc::strong_count(&node.lives) > 1 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An empty folder: whatever ran under an earlier process of this node ended with it.
fn prepare(config: &NodeConfig) -> Result<PathBuf, Error> {
    let path = &config.state_dir;
    let staging = path.join("root");
    let prepared = match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(&staging),
    };
    prepared.map_err(|source| Error::StateDir { path: path.clone(), source })?;
    Ok(staging)
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::config::NodeConfig;

    /// A node as the embedded cluster has them, for tests of texts.
    pub(crate) fn config() -> NodeConfig {
        NodeConfig {
            name: "worker-1".to_owned(),
            address: "172.18.0.2/24".parse().expect("subnet"),
            gateway: "172.18.0.1".parse().expect("address"),
            pod_cidr: "10.244.1.0/24".parse().expect("subnet"),
            cluster_pod_cidr: "10.244.0.0/16".parse().expect("subnet"),
            service_cidr: "10.96.0.0/16".parse().expect("subnet"),
            dns_address: "10.96.0.10".parse().expect("address"),
            dns_domain: "cluster.local".to_owned(),
            api_url: "https://172.18.0.1:6443".to_owned(),
            ca_pem: String::new(),
            client_cert_pem: String::new(),
            client_key_pem: String::new(),
            server_cert_pem: String::new(),
            server_key_pem: String::new(),
            state_dir: "/tmp".into(),
        }
    }
}
