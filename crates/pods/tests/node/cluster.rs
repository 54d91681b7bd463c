//! The control plane in this process and one node in a child.

use std::io::{BufRead, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use control_plane::controllers::{self, BootstrapConfig};
use control_plane::{Config, ControlPlane, NodeDialer};
use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams, PostParams};
use nix::sched::{CloneFlags, unshare};
use pods::NodeConfig;
use pods::namespace;
use pods::network::{node, wire};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};

/// First argument of the child.
pub(crate) const NODE: &str = "be-a-node";

const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 2);

/// Nothing takes longer than this.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    /// Over the wire, so that logs and exec work.
    pub(crate) client: kube::Client,
    config: NodeConfig,
    port: wire::Port,
    node: std::cell::RefCell<Option<Child>>,
    folder: PathBuf,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.kill().ok();
            node.wait().ok();
        }
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

struct Dialer;

impl NodeDialer for Dialer {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, std::io::Result<tokio::net::TcpStream>> {
        Box::pin(tokio::net::TcpStream::connect(address))
    }
}

fn subnet(text: &str) -> Ipv4Net {
    text.parse().expect("subnet")
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        wire::create(Ipv4Net::new(GATEWAY, 24).expect("subnet")).expect("wire");
        let folder = std::env::temp_dir().join(format!("sluice-node-test-{}", std::process::id()));
        let config = Config { server_addresses: vec![IpAddr::from(GATEWAY)], ..Config::default() };
        let control_plane = ControlPlane::open(config).expect("control plane");
        let config = node_config(&control_plane, folder.join("worker-1"));
        let admin = control_plane.authority().issue_client("admin", &["system:masters"]).expect("identity");
        let admin =
            NodeConfig { client_cert_pem: admin.cert_pem, client_key_pem: admin.key_pem, ..config.clone() };
        let client = admin.client().await.expect("client");
        let bootstrap =
            BootstrapConfig { service_cidr: subnet("10.96.0.0/16"), api_address: GATEWAY, api_port: 6443 };
        controllers::bootstrap(control_plane.client(), &bootstrap).await.expect("bootstrap");
        let listener = TcpListener::bind((GATEWAY, 6443)).expect("listener");
        tokio::spawn(async move {
            control_plane.serve(listener, Arc::new(Dialer), std::future::pending()).await.expect("serves");
        });
        let port =
            wire::Port { name: "worker-1".to_owned(), node: ADDRESS.into(), pods: config.pod_cidr.into() };
        let cluster = Self { client, config, port, node: None.into(), folder };
        cluster.start_node();
        cluster
    }

    pub(crate) fn start_node(&self) {
        let mut node = Command::new("/proc/self/exe")
            .arg(NODE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node process");
        let mut line = String::new();
        let stdout = node.stdout.take().expect("pipe");
        std::io::BufReader::new(stdout).read_line(&mut line).expect("the node stands in its namespace");
        let network = namespace::network_of(node.id()).expect("its namespace");
        wire::attach(&self.port, network.as_fd()).expect("attach");
        let text = serde_json::to_vec(&self.config).expect("config");
        node.stdin.take().expect("pipe").write_all(&text).expect("config is read");
        self.node.replace(Some(node));
    }

    /// As `kill -9` does.
    pub(crate) fn kill_node(&self) {
        let mut node = self.node.take().expect("node");
        node.kill().expect("kill");
        node.wait().expect("wait");
    }

    /// As the owner of a cluster does; true if the node ended in good order.
    pub(crate) async fn stop(&self) -> bool {
        let mut node = self.node.take().expect("node");
        let pid = nix::unistd::Pid::from_raw(node.id().try_into().expect("pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signal");
        node.wait().expect("wait").success()
    }

    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod on the node from its spec.
    pub(crate) async fn create(&self, name: &str, mut spec: Value) -> Pod {
        spec["nodeName"] = json!("worker-1");
        let pod = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec});
        let pod = serde_json::from_value(pod).expect("a pod");
        self.pods().create(&PostParams::default(), &pod).await.expect("created")
    }

    /// Waits until the pod's object, as JSON, fulfils the condition; null once it is gone.
    pub(crate) async fn wait(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let pod = self.pods().get_opt(name).await.expect("readable");
            let pod = serde_json::to_value(pod).expect("JSON");
            if holds(&pod) {
                return pod;
            }
            assert!(
                Instant::now() < deadline,
                "{name} is not {what}: {pod:#}\n{:#?}",
                self.events(name).await
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn running(&self, name: &str) -> Value {
        self.wait(name, "running", |pod| pod["status"]["phase"] == "Running").await
    }

    /// Waits until the log is just that.
    pub(crate) async fn logged(&self, name: &str, container: Option<&str>, expected: &str) {
        self.running(name).await;
        let parameters = LogParams { container: container.map(str::to_owned), ..LogParams::default() };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.pods().logs(name, &parameters).await.expect("log");
            if log == expected {
                return;
            }
            assert!(Instant::now() < deadline, "the log of {name} is {log:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn gone(&self, name: &str) {
        self.wait(name, "gone", Value::is_null).await;
    }

    /// Deletes the pod and waits until it is gone.
    pub(crate) async fn delete(&self, name: &str, grace: u32) {
        let parameters = kube::api::DeleteParams { grace_period_seconds: Some(grace), ..Default::default() };
        self.pods().delete(name, &parameters).await.expect("deleted");
        self.gone(name).await;
    }

    /// `reason: message (count)` of the pod's events.
    pub(crate) async fn events(&self, name: &str) -> Vec<String> {
        let api = Api::<Event>::namespaced(self.client.clone(), "default");
        let events = api.list(&ListParams::default()).await.expect("events");
        let of_pod = events.into_iter().filter(|event| event.involved_object.name.as_deref() == Some(name));
        of_pod
            .map(|event| {
                let text = |value: Option<String>| value.unwrap_or_default();
                format!("{}: {} ({})", text(event.reason), text(event.message), event.count.unwrap_or(0))
            })
            .collect()
    }

    /// Waits for an event that begins so.
    pub(crate) async fn event(&self, name: &str, start: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let events = self.events(name).await;
            if let Some(event) = events.iter().find(|event| event.starts_with(start)) {
                return event.clone();
            }
            assert!(Instant::now() < deadline, "no event {start:?}: {events:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

fn node_config(control_plane: &ControlPlane, state_dir: PathBuf) -> NodeConfig {
    let authority = control_plane.authority();
    let client = authority.issue_client("system:node:worker-1", &["system:nodes"]).expect("identity");
    let server = authority.issue_server(&["worker-1"], &[IpAddr::from(ADDRESS)]).expect("identity");
    NodeConfig {
        name: "worker-1".to_owned(),
        address: Ipv4Net::new(ADDRESS, 24).expect("subnet"),
        gateway: GATEWAY,
        pod_cidr: subnet("10.244.1.0/24"),
        cluster_pod_cidr: subnet("10.244.0.0/16"),
        service_cidr: subnet("10.96.0.0/16"),
        dns_address: Ipv4Addr::new(10, 96, 0, 10),
        dns_domain: "cluster.local".to_owned(),
        api_url: format!("https://{GATEWAY}:6443"),
        ca_pem: authority.ca_pem().to_owned(),
        client_cert_pem: client.cert_pem,
        client_key_pem: client.key_pem,
        server_cert_pem: server.cert_pem,
        server_key_pem: server.key_pem,
        state_dir,
    }
}

/// The child's side.
pub(crate) fn be_a_node() -> ExitCode {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).expect("death signal");
    unshare(CloneFlags::CLONE_NEWNET).expect("the node's namespace");
    println!("ready");
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).expect("config");
    let config: NodeConfig = serde_json::from_slice(&text).expect("config");
    node::configure(config.address, config.gateway).expect("addresses");
    node::add_dns_address(config.dns_address).expect("DNS address");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let client = config.client().await.expect("client");
        let mut terminate = signal(SignalKind::terminate()).expect("signal");
        let shutdown = async move { terminate.recv().await.unwrap_or_default() };
        pods::run(config, client, shutdown).await.expect("node runs");
    });
    ExitCode::SUCCESS
}
