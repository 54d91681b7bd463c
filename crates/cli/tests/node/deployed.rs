//! The manifests of `deploy/` on a real API with RBAC: each program runs with the words, the capabilities and the
//! ServiceAccount of its manifest, does its work, and is refused nothing.

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use testnet::harness;
use testnet::peers::{self, ControlPlane, Store};
use tokio::runtime::Runtime;

use crate::cluster::{self, Cluster};
use crate::dns::{kubeadm, put_config_map};
use crate::program::{Program, ask};
use crate::site::{ADDRESS, Node, dump, eventually, get, in_namespace, ip};

/// What kubeadm gives CoreDNS.
const COREDNS: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: coredns, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: system:coredns}
rules:
- {apiGroups: [''], resources: [endpoints, services, pods, namespaces], verbs: [list, watch]}
- {apiGroups: [discovery.k8s.io], resources: [endpointslices], verbs: [list, watch]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: system:coredns}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:coredns}
subjects: [{kind: ServiceAccount, name: coredns, namespace: kube-system}]
";
/// The cluster's DNS, and a Service whose endpoint is the node itself.
const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.0.20, ports: [{name: http, port: 80, targetPort: 9898}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 9898}]
endpoints: [{addresses: [172.18.0.2], nodeName: worker-1, conditions: {ready: true}}]
";
const WEB: &str = "web.default.svc.cluster.local";

/// A real API, with `worker-1`.
struct Api {
    /// As an administrator.
    node: Node,
    runtime: Runtime,
    client: kube::Client,
    control_plane: ControlPlane,
}

/// Runs a trial in a network namespace of its own with a real API in it.
fn with_api(body: fn(&Api)) {
    with_api_that(&[], body);
}

/// The same with further flags of the API server.
fn with_api_that(flags: &'static [&'static str], body: fn(&Api)) {
    let programs = peers::folder();
    if !["etcd", "kube-apiserver"].iter().all(|name| programs.join(name).is_file()) {
        harness::skip(format!(
            "no etcd and kube-apiserver in {}; SLUICE_PEERS names another folder",
            programs.display()
        ));
    }
    in_namespace(move || body(&Api::start(&programs, flags)));
}

impl Api {
    fn start(programs: &Path, flags: &[&str]) -> Self {
        let control_plane = Store::start(programs).and_then(|store| store.serve_with(flags)).unwrap();
        let node = Node { cluster: Cluster::at(control_plane.kubeconfig.clone()) };
        eventually("the API is ready", || {
            node.cluster.sluice(&["get", "namespace", "kube-system"]).code == 0
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let kubeconfig = Kubeconfig::read_from(&control_plane.kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = runtime.block_on(kube::Config::from_custom_kubeconfig(kubeconfig, &options)).unwrap();
        let client = runtime.block_on(async { kube::Client::try_from(config) }).unwrap();
        let api = Self { node, runtime, client, control_plane };
        api.request("POST", "/api/v1/namespaces", json!({"metadata": {"name": "kube-node-lease"}}));
        api.runtime.block_on(cluster::add_node(&api.client, 1));
        api.node.apply(SERVICES);
        api
    }

    /// What exists already is as good.
    fn request(&self, method: &str, path: &str, body: Value) -> Value {
        self.runtime.block_on(cluster::request(&self.client, method, path, body)).unwrap_or_default()
    }

    /// A kubeconfig of a ServiceAccount in kube-system.
    fn account(&self, name: &str) -> PathBuf {
        let path = format!("/api/v1/namespaces/kube-system/serviceaccounts/{name}/token");
        let issued = self.request("POST", &path, json!({"spec": {"expirationSeconds": 3600}}));
        let token = issued["status"]["token"].as_str().expect("a token of the ServiceAccount");
        self.control_plane.kubeconfig_of(name, token).unwrap()
    }

    /// Applies a manifest of `deploy/`, and gives the container of its DaemonSet as the API has it.
    fn deploy(&self, name: &str) -> Value {
        let file = format!("{}/../../deploy/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        for more in [&["--dry-run=server"][..], &[]] {
            let told = self.node.cluster.sluice(&[&["apply", "-f", &file], more].concat());
            assert_eq!(told.code, 0, "{told:?}");
        }
        let set = format!("/apis/apps/v1/namespaces/kube-system/daemonsets/sluice-{name}");
        let set = self.request("GET", &set, Value::Null);
        let pod = &set["spec"]["template"]["spec"];
        assert_eq!(pod["serviceAccountName"], format!("sluice-{name}"), "{set}");
        pod["containers"][0].clone()
    }

    /// The Event is written that a health check's port is taken, and the check answers once it is free.
    fn health_check_and_its_event(&self) {
        let taken = TcpListener::bind(format!("{ADDRESS}:32100")).unwrap();
        self.node.apply(&crate::proxy::service(&jiff::Timestamp::now().to_string(), true));
        let events = || self.node.cluster.sluice(&["get", "events"]).out;
        eventually("the Event is there", || events().contains("FailedToStartServiceHealthcheck"));
        drop(taken);
        eventually("the check is answered", || {
            get(&format!("{ADDRESS}:32100"), "/").is_some_and(|answer| answer.status == 200)
        });
    }
}

/// The program of a container on `worker-1`, with what the container may do and the credentials of its ServiceAccount.
fn container(container: &Value, kubeconfig: &Path, place: impl Fn(&str) -> String) -> Program {
    let mut command = Command::new("setpriv");
    let context = &container["securityContext"];
    if context["privileged"] != true {
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
        let added = context["capabilities"]["add"].as_array().unwrap().iter().filter_map(Value::as_str);
        let added: String = added.map(|name| format!(",+{}", name.to_lowercase())).collect();
        command.args(["--no-new-privs", "--inh-caps=-all", &format!("--bounding-set=-all{added}")]);
    }
    command.arg(env!("CARGO_BIN_EXE_sluice"));
    let words = container["args"].as_array().unwrap().iter().filter_map(Value::as_str);
    command.args(words.map(|word| place(&word.replace("$(NODE_NAME)", "worker-1"))));
    command.env("KUBECONFIG", kubeconfig).env_remove("SLUICE_LOG");
    Program::spawn(command)
}

/// Connections to the Service `web` reach the node's own server.
fn connects() {
    ip("route add 10.96.0.0/16 dev lo");
    let server = TcpListener::bind(format!("{ADDRESS}:9898")).unwrap();
    let accepting = thread::spawn(move || drop(server.accept()));
    let address = "10.96.0.20:80".parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10)).expect("a connection");
    accepting.join().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed by the server");
}

fn assert_never_refused(program: &Program) {
    let log = program.log();
    let refused = ["orbidden", "403", "Unauthorized", "ermission denied", "not permitted"];
    assert!(!refused.iter().any(|word| log.contains(word)), "{log}");
}

fn is_ready() -> bool {
    get("127.0.0.1:10256", "/readyz").is_some_and(|answer| answer.status == 200)
}

pub(crate) fn the_agent_may_do_what_it_does() {
    with_api(|api| {
        let deployed = api.deploy("agent");
        put_config_map(&api.node, &kubeadm().replace("ttl 30", "ttl 11"));
        let program = container(&deployed, &api.account("sluice-agent"), str::to_owned);
        eventually("it is ready", is_ready);
        let lifetime = || ask("172.18.0.2:53", WEB).and_then(|said| said.first);
        assert_eq!(lifetime(), Some((11, [10, 96, 0, 20])), "{}", program.log());
        put_config_map(&api.node, &kubeadm().replace("ttl 30", "ttl 13"));
        eventually("it follows the ConfigMap", || lifetime() == Some((13, [10, 96, 0, 20])));
        assert!(dump("nft").contains("default/web"), "{}", dump("nft"));
        connects();
        api.health_check_and_its_event();
        assert_never_refused(&program);
    });
}

pub(crate) fn the_proxy_may_do_what_it_does() {
    with_api(|api| {
        let deployed = api.deploy("proxy");
        let kubeconfig = api.account("sluice-proxy");
        let account = Node { cluster: Cluster::at(kubeconfig.clone()) };
        let file = account.configuration("");
        let place = |word: &str| word.replace("/var/lib/kube-proxy/config.conf", &file);
        let program = container(&deployed, &kubeconfig, place);
        eventually("it is ready", is_ready);
        assert_eq!(get("127.0.0.1:10249", "/proxyMode").unwrap().body, "nftables");
        connects();
        api.health_check_and_its_event();
        assert_never_refused(&program);
    });
}

pub(crate) fn dns_may_do_what_it_does_as_coredns() {
    with_api(|api| {
        api.node.apply(COREDNS);
        let text = kubeadm().replace("pods insecure", "pods verified");
        let file = api.node.cluster.file("Corefile", &text);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(["dns", "-conf", &file]).env("KUBECONFIG", api.account("coredns"));
        let program = Program::spawn(command);
        eventually("it is ready", || get("127.0.0.1:8181", "/ready").is_some_and(|it| it.status == 200));
        assert_eq!(ask("127.0.0.1:53", WEB).unwrap().first, Some((30, [10, 96, 0, 20])));
        assert_never_refused(&program);
    });
}

pub(crate) fn an_api_that_does_not_stream_lists_is_read_in_pages() {
    with_api_that(&["--feature-gates=WatchList=false"], |api| {
        let file = api.node.cluster.file("Corefile", &kubeadm());
        let program = Program::start(&api.node, &["dns", "-conf", &file]);
        eventually("it is ready", || get("127.0.0.1:8181", "/ready").is_some_and(|it| it.status == 200));
        for kind in ["Service", "EndpointSlice", "Namespace"] {
            let told = format!("the API does not stream lists: it is asked for pages kind={kind}");
            assert!(program.log().contains(&told), "{told}: {}", program.log());
        }
        let address = |name: &str| ask("127.0.0.1:53", name).and_then(|said| said.first);
        assert_eq!(address(WEB), Some((30, [10, 96, 0, 20])));
        api.node.apply(&SERVICES.replace("name: web", "name: more").replace("10.96.0.20", "10.96.0.21"));
        let more = WEB.replace("web", "more");
        eventually("a change is followed", || address(&more) == Some((30, [10, 96, 0, 21])));
    });
}
