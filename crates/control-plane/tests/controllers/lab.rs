//! One cluster for one test: an API, the controllers, two nodes that are only objects, and a kubelet that
//! only writes status.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use control_plane::controllers::{self, BootstrapConfig};
use control_plane::{Config, ControlPlane};
use futures::StreamExt;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Endpoints, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Nothing takes longer than this.
const PATIENCE: Duration = Duration::from_secs(10);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The cluster. Its tasks end with it.
pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    /// While false, pods run but do not get ready.
    pub(crate) ready: Arc<AtomicBool>,
    tasks: JoinSet<()>,
    controllers: JoinSet<()>,
    _own: Option<ControlPlane>,
}

/// Where the API is to be found, for all tests.
pub(crate) fn bootstrap_config() -> BootstrapConfig {
    BootstrapConfig {
        service_cidr: "10.96.0.0/16".parse().expect("a subnet"),
        api_address: "172.18.0.1".parse().expect("an address"),
        api_port: 6443,
    }
}

async fn api() -> (Client, Option<ControlPlane>) {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
    let _ = rustls::crypto::ring::default_provider().install_default();
    match std::env::var("SLUICE_TEST_KUBECONFIG") {
        Ok(path) => {
            let kubeconfig = kube::config::Kubeconfig::read_from(path).expect("the kubeconfig can be read");
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await;
            (Client::try_from(config.expect("the kubeconfig is complete")).expect("a client"), None)
        }
        Err(_) => {
            let own = ControlPlane::open(Config::default()).expect("an API server in memory");
            (own.client(), Some(own))
        }
    }
}

impl Lab {
    /// A cluster with the Ready nodes `worker-1` and `worker-2` and a namespace for the test.
    pub(crate) async fn start() -> Self {
        let lab = Self::without_nodes().await;
        lab.remove_nodes().await;
        lab.add_node("worker-1", "172.18.0.2", true).await;
        lab.add_node("worker-2", "172.18.0.3", true).await;
        lab
    }

    /// The same without nodes.
    pub(crate) async fn without_nodes() -> Self {
        let (client, own) = api().await;
        controllers::bootstrap(client.clone(), &bootstrap_config()).await.expect("bootstrap");
        let mut tasks = JoinSet::new();
        let ready = Arc::new(AtomicBool::new(true));
        tasks.spawn(kubelet(client.clone(), ready.clone()));
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("test-{}-{number}", std::process::id());
        let mut lab = Self { client, namespace, ready, tasks, controllers: JoinSet::new(), _own: own };
        lab.restart_controllers(Duration::from_secs(40)).await;
        let mut object = Namespace::default();
        object.metadata.name = Some(lab.namespace.clone());
        Api::all(lab.client.clone()).create(&PostParams::default(), &object).await.expect("a namespace");
        lab.remove_nodes().await;
        lab
    }

    /// Ends the controllers in the middle of whatever they do, and starts them anew.
    pub(crate) async fn restart_controllers(&mut self, node_grace: Duration) {
        self.controllers.shutdown().await;
        let root_ca = "-----BEGIN CERTIFICATE-----\n".to_owned();
        let config = controllers::Config { node_grace, ..controllers::Config::new(root_ca) };
        self.controllers.spawn(controllers::run(self.client.clone(), config, std::future::pending()));
    }

    /// The revision of the whole store, as a list shows it.
    pub(crate) async fn revision(&self) -> String {
        let list = self.api::<Pod>().list(&ListParams::default()).await.expect("a list");
        list.metadata.resource_version.expect("lists have a revision")
    }

    /// Waits until nobody has written anything for half a second.
    pub(crate) async fn rest(&self) {
        let mut before = String::new();
        self.eventually("the store rests", async || {
            let now = self.revision().await;
            let rests = now == before;
            before = now;
            tokio::time::sleep(Duration::from_millis(500)).await;
            rests.then_some(())
        })
        .await;
    }

    /// The collection of this kind in the test's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn remove_nodes(&self) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        for node in nodes.list(&ListParams::default()).await.expect("nodes") {
            nodes.delete(&node.name_any(), &DeleteParams::default()).await.expect("a node is removed");
        }
    }

    pub(crate) async fn add_node(&self, name: &str, address: &str, ready: bool) {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let node: Node = serde_json::from_value(json!({"metadata": {"name": name}})).expect("a node");
        nodes.create(&PostParams::default(), &node).await.expect("a node");
        let addresses = json!([{"type": "InternalIP", "address": address}]);
        self.patch_status(&nodes, name, json!({"addresses": addresses})).await;
        self.set_node_ready(name, ready).await;
    }

    pub(crate) async fn set_node_ready(&self, name: &str, ready: bool) {
        let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now());
        let status = if ready { "True" } else { "False" };
        let conditions = json!([{
            "type": "Ready", "status": status, "reason": "Test", "lastHeartbeatTime": now, "lastTransitionTime": now,
        }]);
        self.patch_status(&Api::<Node>::all(self.client.clone()), name, json!({"conditions": conditions}))
            .await;
    }

    pub(crate) async fn patch_status<K>(&self, api: &Api<K>, name: &str, status: Value)
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(name, &PatchParams::default(), &patch).await.expect("a status is written");
    }

    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let object = serde_json::from_value(object).expect("the object fits its type");
        self.api().create(&PostParams::default(), &object).await.expect("the object is created")
    }

    /// A Deployment of podinfo, `spec` merged into its own.
    pub(crate) async fn deployment(&self, name: &str, replicas: u32, spec: Value) -> Deployment {
        let mut object = json!({
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": name}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {"containers": [{"name": "podinfo", "image": "podinfo", "ports": [{"containerPort": 9898}]}]},
                },
            },
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            object["spec"][field] = value.clone();
        }
        self.create(object).await
    }

    pub(crate) async fn service(&self, name: &str, spec: Value) -> Service {
        self.create(json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": spec})).await
    }

    pub(crate) async fn pods(&self) -> Vec<Pod> {
        let pods = self.api::<Pod>().list(&ListParams::default()).await.expect("pods");
        pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect()
    }

    pub(crate) async fn slices(&self, service: &str) -> Vec<EndpointSlice> {
        let selector = format!("kubernetes.io/service-name={service}");
        self.api().list(&ListParams::default().labels(&selector)).await.expect("slices").items
    }

    /// Addresses of the ready endpoints of a Service, sorted.
    pub(crate) async fn ready_addresses(&self, service: &str) -> Vec<String> {
        let mut addresses = Vec::new();
        for endpoint in
            self.slices(service).await.into_iter().flat_map(|slice| slice.endpoints.unwrap_or_default())
        {
            if endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true) {
                addresses.extend(endpoint.addresses);
            }
        }
        addresses.sort();
        addresses
    }

    pub(crate) async fn endpoints(&self, name: &str) -> Option<Endpoints> {
        self.api().get_opt(name).await.expect("endpoints can be read")
    }

    /// Waits until `check` returns a value; panics with `what` when it takes too long.
    pub(crate) async fn eventually<T, F: AsyncFnMut() -> Option<T>>(&self, what: &str, mut check: F) -> T {
        let start = Instant::now();
        loop {
            if let Some(value) = check().await {
                return value;
            }
            assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Removes what a shared API server would keep.
    pub(crate) async fn stop(mut self) {
        self.remove_nodes().await;
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let _ = namespaces.delete(&self.namespace, &DeleteParams::default()).await;
        let gone = async || namespaces.get_opt(&self.namespace).await.ok().flatten().is_none().then_some(());
        self.eventually("the test's namespace is gone", gone).await;
        self.controllers.shutdown().await;
        self.tasks.shutdown().await;
    }
}

/// The names and values of labels, for comparisons.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Runs every bound pod at once, and ends every pod that is being deleted.
async fn kubelet(client: Client, ready: Arc<AtomicBool>) {
    let mut events = std::pin::pin!(watcher(Api::<Pod>::all(client.clone()), watcher::Config::default()));
    let mut last = 1;
    while let Some(event) = events.next().await {
        let (Ok(Event::Apply(pod)) | Ok(Event::InitApply(pod))) = event else { continue };
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()) else { continue };
        let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
        let has_address = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
        if pod.metadata.deletion_timestamp.is_some() {
            let _ = pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await;
        } else if !has_address {
            last += 1;
            let subnet = usize::from(node.bytes().last().map_or(0, |digit| digit - b'0'));
            let status = running(&format!("10.244.{subnet}.{last}"), ready.load(Ordering::Relaxed));
            let _ = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(status)).await;
        }
    }
}

/// Status of a pod that runs at `address`.
pub(crate) fn running(address: &str, ready: bool) -> Value {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::now());
    let status = if ready { "True" } else { "False" };
    json!({"status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": now},
            {"type": "Ready", "status": status, "lastTransitionTime": now},
        ],
    }})
}
