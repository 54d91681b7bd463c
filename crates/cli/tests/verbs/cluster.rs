//! An API server for the tests: our own control plane with its controllers, on loopback, with two nodes that run
//! nothing but say that every pod placed on them runs.
//!
//! `SLUICE_TEST_KUBECONFIG=FILE` uses another server instead, to see that the verbs rest on nothing that only ours does.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use control_plane::{
    Config, ControlPlane, NodeDialer,
    controllers::{self, BootstrapConfig},
};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{net::TcpStream, runtime::Runtime, sync::watch};

/// What a run of `sluice` printed, and its exit code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

/// A server that ends, and whose files go, with this value.
pub(crate) struct Cluster {
    /// The kubeconfig for it.
    pub(crate) kubeconfig: PathBuf,
    directory: PathBuf,
    stop: watch::Sender<bool>,
    runtime: Option<Runtime>,
}

struct NoNodes;

impl NodeDialer for NoNodes {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, std::io::Result<TcpStream>> {
        Box::pin(async move { Err(std::io::Error::other(format!("no node listens on {address}"))) })
    }
}

static DIRECTORIES: AtomicU32 = AtomicU32::new(0);

impl Cluster {
    /// Starts a server with two nodes.
    pub(crate) fn start() -> Self {
        if let Some(kubeconfig) = std::env::var_os("SLUICE_TEST_KUBECONFIG") {
            return Self::at(kubeconfig.into());
        }
        let mut cluster = Self::at(PathBuf::new());
        cluster.kubeconfig = cluster.directory.join("kubeconfig");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(serve(&cluster.kubeconfig, cluster.stop.subscribe()));
        cluster.runtime = Some(runtime);
        cluster
    }

    /// A server that runs already.
    pub(crate) fn at(kubeconfig: PathBuf) -> Self {
        let number = DIRECTORIES.fetch_add(1, Ordering::Relaxed);
        let directory = std::env::temp_dir().join(format!("sluice-verbs-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        Self { kubeconfig, directory, stop: watch::channel(false).0, runtime: None }
    }

    /// Runs `sluice` with these words.
    pub(crate) fn sluice(&self, words: &[&str]) -> Run {
        self.sluice_with(words, "")
    }

    /// Runs `sluice` with these words and this input.
    pub(crate) fn sluice_with(&self, words: &[&str], input: &str) -> Run {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(words).env("KUBECONFIG", &self.kubeconfig);
        run(command, input)
    }

    /// A file in the cluster's own directory.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// Runs a command to its end.
pub(crate) fn run(mut command: Command, input: &str) -> Run {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that reads no input closes it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

async fn serve(kubeconfig: &std::path::Path, stopped: watch::Receiver<bool>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let control_plane = ControlPlane::open(Config::default()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    write_kubeconfig(kubeconfig, &control_plane, port);
    let client = control_plane.client();
    let bootstrap = BootstrapConfig {
        service_cidr: Config::default().service_cidr,
        api_address: Ipv4Addr::new(172, 18, 0, 1),
        api_port: 6443,
    };
    let ca = control_plane.authority().ca_pem().to_owned();
    let until = |mut stopped: watch::Receiver<bool>| async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    let serving = until(stopped.clone());
    tokio::spawn(async move { control_plane.serve(listener, Arc::new(NoNodes), serving).await });
    controllers::bootstrap(client.clone(), &bootstrap).await.unwrap();
    for node in 1..=2 {
        add_node(&client, node).await;
    }
    tokio::spawn(controllers::run(client.clone(), controllers::Config::new(ca), until(stopped)));
    tokio::spawn(run_pods(client));
}

fn write_kubeconfig(path: &std::path::Path, control_plane: &ControlPlane, port: u16) {
    let encode = |text: &str| {
        use k8s_openapi::ByteString;
        serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap()
    };
    let identity = control_plane.authority().issue_client("admin", &["system:masters"]).unwrap();
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": format!("https://127.0.0.1:{port}"),
            "certificate-authority-data": encode(control_plane.authority().ca_pem())}}],
        "users": [{"name": "test", "user": {"client-certificate-data": encode(&identity.cert_pem),
            "client-key-data": encode(&identity.key_pem)}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    std::fs::write(path, config.to_string()).unwrap();
}

/// A request of any kind.
pub(crate) async fn request(
    client: &kube::Client,
    method: &str,
    path: &str,
    body: Value,
) -> kube::Result<Value> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let request = http::Request::builder().method(method).uri(path).header("content-type", kind);
    client.request(request.body(body.to_string().into_bytes()).unwrap()).await
}

/// Makes `worker-1` or `worker-2`, ready.
pub(crate) async fn add_node(client: &kube::Client, number: u8) {
    let node = json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("worker-{number}"), "labels": {"kubernetes.io/hostname": format!("worker-{number}")}},
        "spec": {"podCIDR": format!("10.244.{number}.0/24"), "podCIDRs": [format!("10.244.{number}.0/24")]}});
    request(client, "POST", "/api/v1/nodes", node).await.unwrap();
    // A node that does not renew is marked NotReady after 40 s; the tests are over by then.
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let status = json!({"status": {
        "addresses": [{"type": "InternalIP", "address": format!("172.18.0.{}", number + 1)}],
        "capacity": {"cpu": "2", "memory": "4Gi", "pods": "110"}, "allocatable": {"cpu": "2", "memory": "4Gi", "pods": "110"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "ready",
            "lastHeartbeatTime": time, "lastTransitionTime": time}],
        "nodeInfo": {"kubeletVersion": "v1.37.2", "kernelVersion": "6.1", "osImage": "Test", "containerRuntimeVersion": "none",
            "operatingSystem": "linux", "architecture": "amd64", "machineID": "", "systemUUID": "", "bootID": "", "kubeProxyVersion": ""}}});
    let path = format!("/api/v1/nodes/worker-{number}/status");
    request(client, "PATCH", &path, status).await.unwrap();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": format!("worker-{number}")},
        "spec": {"holderIdentity": format!("worker-{number}"), "leaseDurationSeconds": 40,
            "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.000000Z").to_string()}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    request(client, "POST", leases, lease).await.unwrap();
}

/// Plays the nodes: pods that were placed run at once, pods that are deleted end at once.
async fn run_pods(client: kube::Client) {
    let mut last = 1;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let Ok(list) = request(&client, "GET", "/api/v1/pods", Value::Null).await else { continue };
        for pod in list["items"].as_array().into_iter().flatten() {
            let (name, node) =
                (pod["metadata"]["name"].as_str().unwrap_or_default(), pod["spec"]["nodeName"].as_str());
            let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
            let path = format!("/api/v1/namespaces/{namespace}/pods/{name}");
            if pod["metadata"]["deletionTimestamp"].is_string() {
                let _ = request(&client, "DELETE", &path, json!({"gracePeriodSeconds": 0})).await;
            } else if let (Some(node), Some("Pending")) = (node, pod["status"]["phase"].as_str()) {
                last += 1;
                let address = format!("10.244.{}.{last}", node.trim_start_matches("worker-"));
                let _ = request(&client, "PATCH", &format!("{path}/status"), running(pod, &address)).await;
            }
        }
    }
}

fn running(pod: &Value, address: &str) -> Value {
    let time = "2026-01-01T00:00:00Z";
    let started = |container: &Value| {
        json!({"name": container["name"], "image": container["image"], "imageID": "", "ready": true, "restartCount": 0,
            "containerID": "test://1", "state": {"running": {"startedAt": time}}})
    };
    let containers: Vec<Value> =
        pod["spec"]["containers"].as_array().into_iter().flatten().map(started).collect();
    json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "hostIP": "172.18.0.2", "startTime": time,
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": time}], "containerStatuses": containers}})
}
