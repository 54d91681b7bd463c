//! A cluster on this machine: control plane in this process, the wire's thread, one process for each node. `sluice up`
//! and `sluice demo` are two ways to start the same thing.

mod job_thread;
pub(crate) mod kubeconfig;
mod node_process;
mod options;
pub(crate) mod runtime_dir;
mod supervisor;
pub(crate) mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use control_plane::{ControlPlane, controllers};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Node;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use pods::NodeConfig;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use job_thread::JobThread;
pub(crate) use options::Options;
use runtime_dir::{Process, Record, RuntimeDir};
use supervisor::Supervisor;
use wire::Wire;

/// The port of the API on the wire, as kube-apiserver's.
const WIRE_API_PORT: u16 = 6443;
/// The DNS relay's port on the wire.
const RELAY_PORT: u16 = 53;

/// A running cluster. Dropping it leaves the node processes to the parent-death signal; [`Cluster::stop`] is polite.
pub(crate) struct Cluster {
    /// Speaks to the API in this process.
    pub(crate) client: Client,
    /// Where the kubeconfig was written.
    pub(crate) kubeconfig: PathBuf,
    /// `https://127.0.0.1:PORT`.
    pub(crate) server: String,
    /// From the start of the program until the API answered.
    pub(crate) api_ready: Duration,
    node_count: usize,
    runtime: Arc<RuntimeDir>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    supervisors: JoinSet<()>,
    relay: Option<dns::server::Server>,
}

impl Cluster {
    /// Starts everything; returns as soon as the API answers, with the nodes on their way.
    pub(crate) async fn start(options: Options, began: Instant) -> anyhow::Result<Self> {
        for gone in runtime_dir::remove_dead(&options.runtime_root)? {
            info!("removed {}, left by a cluster that was killed", gone.display());
        }
        let runtime = Arc::new(RuntimeDir::create(&options.runtime_root)?);
        let wire = Wire::create()?;
        let plane = Arc::new(ControlPlane::open(options.control_plane(wire::GATEWAY))?);
        let local = options.listen()?;
        let server = format!("https://{}", local.local_addr()?);
        let kubeconfig = options.kubeconfig.clone().unwrap_or_else(|| runtime.path().join("kubeconfig"));
        let admin = plane.authority().issue_client("admin", &["system:masters"])?;
        kubeconfig::write(&kubeconfig, &server, plane.authority().ca_pem(), &admin)?;

        let (stop, _) = watch::channel(false);
        let client = plane.client();
        let mut cluster = Self {
            client,
            kubeconfig,
            server,
            api_ready: Duration::ZERO,
            node_count: options.nodes.into(),
            runtime,
            stop,
            tasks: JoinSet::new(),
            supervisors: JoinSet::new(),
            relay: None,
        };
        cluster.serve(&plane, local, &wire)?;
        cluster.run_controllers(&options, plane.authority().ca_pem()).await?;
        cluster.api_ready = began.elapsed();
        cluster.start_relay(&wire)?;
        cluster.start_nodes(&options, &plane, wire)?;
        Ok(cluster)
    }

    fn serve(&mut self, plane: &Arc<ControlPlane>, local: TcpListener, wire: &Wire) -> anyhow::Result<()> {
        for listener in [local, wire.listen(WIRE_API_PORT)?] {
            let (plane, dialer, stop) = (Arc::clone(plane), Arc::new(wire.clone()), self.stop.subscribe());
            self.tasks.spawn(async move {
                if let Err(error) = plane.serve(listener, dialer, stopped(stop)).await {
                    warn!("the API server ended: {error:#}");
                }
            });
        }
        Ok(())
    }

    async fn run_controllers(&mut self, options: &Options, ca_pem: &str) -> anyhow::Result<()> {
        let bootstrap = options.bootstrap();
        let objects = controllers::bootstrap(self.client.clone(), &bootstrap);
        objects.await.context("making the objects that every cluster has")?;
        let (client, stop) = (self.client.clone(), self.stop.subscribe());
        let config = controllers::Config::new(ca_pem.to_owned());
        self.tasks.spawn(async move { controllers::run(client, config, stopped(stop)).await });
        Ok(())
    }

    /// Names outside of the cluster: from the nodes over the wire to the host's resolvers.
    fn start_relay(&mut self, wire: &Wire) -> anyhow::Result<()> {
        let (udp, tcp) = (wire.bind_udp(RELAY_PORT)?, wire.listen(RELAY_PORT)?);
        let upstreams = vec![dns::corefile::To::File("/etc/resolv.conf".into())];
        self.relay = Some(dns::relay::start(udp, tcp, upstreams).context("starting the DNS relay")?);
        Ok(())
    }

    fn start_nodes(&mut self, options: &Options, plane: &ControlPlane, wire: Wire) -> anyhow::Result<()> {
        let spawner = JobThread::start("spawner", || Ok::<(), std::io::Error>(()))?;
        let (started, events) = mpsc::unbounded_channel();
        for index in 1..=options.nodes {
            let config = self.node_config(options, plane, index)?;
            let log = self.runtime.path().join(format!("{}.log", config.name));
            let supervisor = Supervisor {
                spawner: spawner.clone(),
                wire: wire.clone(),
                client: self.client.clone(),
                config,
                log,
                started: started.clone(),
            };
            self.supervisors.spawn(supervisor.run(self.stop.subscribe()));
        }
        let record = Record {
            process: Process::of(std::process::id()).context("reading this process's own state")?,
            kubeconfig: self.kubeconfig.clone(),
            nodes: BTreeMap::new(),
        };
        self.runtime.write(&record)?;
        self.tasks.spawn(keep_record(Arc::clone(&self.runtime), record, events));
        Ok(())
    }

    fn node_config(&self, options: &Options, plane: &ControlPlane, index: u8) -> anyhow::Result<NodeConfig> {
        let name = format!("worker-{index}");
        let address = Ipv4Addr::from(u32::from(wire::GATEWAY) + u32::from(index));
        let state_dir = self.runtime.path().join(&name);
        std::fs::create_dir(&state_dir).with_context(|| format!("making {}", state_dir.display()))?;
        let user = plane.authority().issue_client(&format!("system:node:{name}"), &["system:nodes"])?;
        let server = plane.authority().issue_server(&[&name], &[address.into()])?;
        options.node(name, address, state_dir, plane.authority().ca_pem().to_owned(), user, server)
    }

    /// Waits until every node of the API is Ready; says how many there are.
    pub(crate) async fn nodes_ready(&self) -> anyhow::Result<usize> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let mut ready = BTreeSet::new();
        let mut events = std::pin::pin!(watcher(nodes, watcher::Config::default()).touched_objects());
        while ready.len() < self.node_count {
            let node = events.next().await.context("the watch of nodes ended")?;
            if let Ok(node) = node
                && is_ready(&node)
            {
                ready.insert(node.name_any());
            }
        }
        Ok(ready.len())
    }

    /// Reads the record of this cluster as it stands when called.
    pub(crate) fn record(&self) -> Arc<dyn Fn() -> Record + Send + Sync> {
        let folder = self.runtime.path().to_owned();
        Arc::new(move || runtime_dir::read(&folder).unwrap_or_default())
    }

    /// Stops the nodes, then the control plane. Namespaces vanish with their processes.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.supervisors.join_next().await.is_some() {}
        self.tasks.shutdown().await;
    }
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Resolves when the cluster stops, or is gone.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Notes the process of each node as it starts, for `sluice node shell` and `sluice dump`.
async fn keep_record(
    runtime: Arc<RuntimeDir>,
    mut record: Record,
    mut events: mpsc::UnboundedReceiver<(String, u32)>,
) {
    while let Some((node, pid)) = events.recv().await {
        record.nodes.insert(node, Process::of(pid).unwrap_or_default());
        if let Err(error) = runtime.write(&record) {
            warn!("{error:#}");
        }
    }
}
