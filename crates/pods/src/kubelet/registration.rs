//! The Node object of this node: made or brought up to date at the start, kept alive by a Lease, and reported again
//! when it says of this living node that it is not ready, or is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeSpec,
    NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::sync::watch;

use crate::config::{NodeConfig, SERVER_PORT};

/// The version that the cluster reports, with ours.
const KUBELET_VERSION: &str = "v1.37.2+sluice";

const RUNTIME_VERSION: &str = concat!("sluice://", env!("CARGO_PKG_VERSION"));

/// Between renewals; the control plane calls a node lost after 40 s.
const RENEWAL: Duration = Duration::from_secs(10);

/// Least time between two reports. The first is at once; one who keeps saying otherwise gets one answer a second.
const BETWEEN_REPORTS: Duration = Duration::from_secs(1);

const LEASE_SECONDS: i32 = 40;

const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Pods that a node takes, the kubelet's default.
const PODS: &str = "110";

/// Makes the Node, or brings the one that exists up to date. The status says Ready.
pub(crate) async fn register(client: &kube::Client, config: &NodeConfig) -> kube::Result<()> {
    let api = Api::<Node>::all(client.clone());
    let node = node(config);
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => {}
        Err(kube::Error::Api(error)) if error.code == 409 => {
            let spec = json!({"metadata": {"labels": node.metadata.labels}, "spec": node.spec});
            api.patch(&config.name, &PatchParams::default(), &Patch::Merge(spec)).await?;
        }
        Err(error) => return Err(error),
    }
    let status = json!({"status": status(config)});
    api.patch_status(&config.name, &PatchParams::default(), &Patch::Merge(status)).await.map(drop)
}

/// Reports this node again whenever its object does not stand (deleted, or not Ready), until dropped. What is wrong
/// may be the node lifecycle controller's verdict after this process stood still, or the work of a hand.
pub(crate) async fn keep_standing(node: Arc<super::Node>, mut stands: watch::Receiver<bool>) {
    while stands.wait_for(|stands| !stands).await.is_ok() {
        match register(&node.client, &node.config).await {
            Ok(_) => tracing::info!(node = node.config.name, "reported again as ready"),
            Err(error) => tracing::debug!(%error, "node not reported again yet"),
        }
        tokio::time::sleep(BETWEEN_REPORTS).await;
    }
}

/// Renews the Lease until dropped. The first renewal is at once.
pub(crate) async fn keep_alive(client: kube::Client, name: String) {
    let mut clock = tokio::time::interval(RENEWAL);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        if let Err(error) = renew(&client, &name).await {
            tracing::debug!(%error, "lease not renewed");
        }
    }
}

async fn renew(client: &kube::Client, name: &str) -> kube::Result<()> {
    let api = Api::<Lease>::namespaced(client.clone(), LEASE_NAMESPACE);
    let now = MicroTime(Timestamp::now());
    let patch = json!({"spec": {"renewTime": now}});
    match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(error)) if error.code == 404 => {}
        result => return result.map(drop),
    }
    // Asked for each time: a Lease owned by a Node of before goes with that.
    let node = Api::<Node>::all(client.clone()).get(name).await?;
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: name.to_owned(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    api.create(&PostParams::default(), &lease).await.map(drop)
}

fn node(config: &NodeConfig) -> Node {
    let labels = [
        ("beta.kubernetes.io/arch", architecture()),
        ("beta.kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", architecture()),
        ("kubernetes.io/hostname", &config.name),
        ("kubernetes.io/os", "linux"),
    ];
    let subnet = config.pod_cidr.to_string();
    Node {
        metadata: ObjectMeta {
            name: Some(config.name.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            pod_cidr: Some(subnet.clone()),
            pod_cidrs: Some(vec![subnet]),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn status(config: &NodeConfig) -> NodeStatus {
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let resources = resources();
    NodeStatus {
        addresses: Some(vec![
            address("InternalIP", config.address.addr().to_string()),
            address("Hostname", config.name.clone()),
        ]),
        allocatable: Some(resources.clone()),
        capacity: Some(resources),
        conditions: Some(conditions()),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: SERVER_PORT.into() }),
        }),
        images: Some(["podinfo", "nginx"].map(image).to_vec()),
        node_info: Some(system()),
        ..NodeStatus::default()
    }
}

fn image(name: &str) -> ContainerImage {
    ContainerImage { names: Some(vec![format!("built-in/{name}:latest")]), size_bytes: Some(0) }
}

fn conditions() -> Vec<NodeCondition> {
    let good = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ];
    let now = Timestamp::now();
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    good.map(|(kind, status, reason, message)| NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(now.clone()),
        last_transition_time: Some(now.clone()),
    })
    .to_vec()
}

/// All nodes share one machine, and each reports all of it.
fn resources() -> BTreeMap<String, Quantity> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let memory =
        line("/proc/meminfo", "MemTotal:").and_then(|text| text.strip_suffix(" kB").map(str::to_owned));
    let memory = memory.map_or_else(|| "0".to_owned(), |kilobytes| format!("{}Ki", kilobytes.trim()));
    [("cpu", processors.to_string()), ("memory", memory), ("pods", PODS.to_owned())]
        .map(|(name, value)| (name.to_owned(), Quantity(value)))
        .into()
}

fn system() -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let machine = read("/etc/machine-id");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: RUNTIME_VERSION.to_owned(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kubelet_version: KUBELET_VERSION.to_owned(),
        system_uuid: machine.clone(),
        machine_id: machine,
        operating_system: "linux".to_owned(),
        os_image: line("/etc/os-release", "PRETTY_NAME=")
            .map_or_else(|| "Linux".to_owned(), |name| name.trim_matches('"').to_owned()),
        ..NodeSystemInfo::default()
    }
}

/// The rest of the first line of a file that begins so.
fn line(path: &str, start: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
}
