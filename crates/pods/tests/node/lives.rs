//! Pods that live as they should.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{Api, LogParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;

pub(crate) async fn run(cluster: &Cluster) {
    node_is_registered(cluster).await;
    podinfo_runs_within_a_moment(cluster).await;
    graceful_termination(cluster).await;
    ready_by_its_probe(cluster).await;
    started_by_its_probe(cluster).await;
    environment_and_files(cluster).await;
    init_containers_and_sidecars(cluster).await;
    jobs_end(cluster).await;
}

async fn node_is_registered(cluster: &Cluster) {
    let api = Api::<Node>::all(cluster.client.clone());
    let deadline = Instant::now() + Duration::from_secs(10);
    let node = loop {
        let node = api.get_opt("worker-1").await.expect("readable");
        if let Some(node) = node.filter(|node| node.status.as_ref().is_some_and(|s| s.addresses.is_some())) {
            break serde_json::to_value(node).expect("JSON");
        }
        assert!(Instant::now() < deadline, "no node");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(node["spec"]["podCIDR"], "10.244.1.0/24");
    assert_eq!(node["status"]["addresses"][0], json!({"type": "InternalIP", "address": "172.18.0.2"}));
    assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.37.2+sluice");
    let conditions = node["status"]["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"));
}

fn condition<'a>(pod: &'a Value, kind: &str) -> &'a str {
    let conditions = pod["status"]["conditions"].as_array().expect("conditions");
    let condition = conditions.iter().find(|condition| condition["type"] == kind).expect("condition");
    condition["status"].as_str().expect("status")
}

fn podinfo() -> Value {
    json!({"containers": [{"name": "podinfo", "image": "stefanprodan/podinfo", "ports": [{"containerPort": 9898}]}]})
}

async fn podinfo_runs_within_a_moment(cluster: &Cluster) {
    let mut times = Vec::new();
    for number in 0..5 {
        let name = format!("quick-{number}");
        let begun = Instant::now();
        cluster.create(&name, podinfo()).await;
        let pod = cluster.running(&name).await;
        times.push(begun.elapsed());
        let status = &pod["status"];
        for kind in ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"] {
            assert_eq!(condition(&pod, kind), "True", "{kind}: {pod:#}");
        }
        assert_eq!(status["hostIP"], "172.18.0.2");
        let address = status["podIP"].as_str().expect("an address").to_owned();
        assert_eq!(status["podIPs"], json!([{"ip": address}]));
        let container = &status["containerStatuses"][0];
        assert_eq!((&container["ready"], &container["started"]), (&json!(true), &json!(true)));
        assert!(container["containerID"].as_str().expect("id").starts_with("sluice://"));
        std::net::TcpStream::connect((address.as_str(), 9898)).expect("it answers at its address");
    }
    times.sort();
    eprintln!("create to Running: median {:?}, worst {:?}", times[2], times[4]);
    for start in ["BuiltInImage", "Pulled: Container image", "Created", "Started: Started container podinfo"]
    {
        cluster.event("quick-0", start).await;
    }
}

async fn graceful_termination(cluster: &Cluster) {
    let begun = Instant::now();
    for number in 0..5 {
        let parameters = kube::api::DeleteParams::default();
        cluster.pods().delete(&format!("quick-{number}"), &parameters).await.expect("deleted");
    }
    let pod = serde_json::to_value(cluster.pods().get("quick-0").await.expect("still there")).expect("JSON");
    assert_eq!(pod["status"]["phase"], "Running");
    std::net::TcpStream::connect((pod["status"]["podIP"].as_str().expect("address"), 9898))
        .expect("it goes on serving for its three seconds");
    for number in 0..5 {
        cluster.gone(&format!("quick-{number}")).await;
    }
    let elapsed = begun.elapsed();
    assert!(elapsed > Duration::from_secs(3) && elapsed < Duration::from_secs(5), "{elapsed:?}");
    cluster.event("quick-0", "Killing: Stopping container podinfo").await;
    // A program that ignores SIGTERM is killed after its time.
    let spec = json!({"containers": [{"name": "deaf", "image": "nginx",
        "command": ["sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.1; done"]}]});
    cluster.create("deaf", spec).await;
    cluster.logged("deaf", None, "deaf\n").await;
    let begun = Instant::now();
    cluster.delete("deaf", 1).await;
    let elapsed = begun.elapsed();
    assert!(elapsed > Duration::from_secs(1) && elapsed < Duration::from_secs(3), "{elapsed:?}");
}

async fn ready_by_its_probe(cluster: &Cluster) {
    let mut spec = podinfo();
    spec["containers"][0]["readinessProbe"] =
        json!({"httpGet": {"path": "/readyz", "port": 9898}, "periodSeconds": 1, "failureThreshold": 1});
    cluster.create("probed", spec).await;
    let is = |status: &'static str| {
        move |pod: &Value| {
            pod["status"]["conditions"]
                .as_array()
                .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == status))
        }
    };
    let pod = cluster.wait("probed", "ready", is("True")).await;
    let address = pod["status"]["podIP"].as_str().expect("address").to_owned();
    post(&address, "/readyz/disable");
    cluster.wait("probed", "unready", is("False")).await;
    cluster
        .event("probed", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503")
        .await;
    post(&address, "/readyz/enable");
    cluster.wait("probed", "ready again", is("True")).await;
    cluster.delete("probed", 0).await;
}

fn post(address: &str, path: &str) {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((address, 9898)).expect("connection");
    write!(stream, "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answer");
    assert!(text.starts_with("HTTP/1.1 202"), "{text}");
}

/// Not ready before it is started, by a command; then by a port's name.
async fn started_by_its_probe(cluster: &Cluster) {
    let spec = json!({"containers": [{
        "name": "main", "image": "nginx", "ports": [{"name": "web", "containerPort": 80}],
        "startupProbe": {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1},
        "readinessProbe": {"tcpSocket": {"port": "web"}, "periodSeconds": 1},
    }]});
    cluster.create("slow", spec).await;
    cluster.running("slow").await;
    cluster.event("slow", "Unhealthy: Startup probe failed:").await;
    let pod = serde_json::to_value(cluster.pods().get("slow").await.expect("there")).expect("JSON");
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!((&container["started"], &container["ready"]), (&json!(false), &json!(false)));
    let parameters = kube::api::AttachParams::default().stderr(false);
    let mut touch = cluster.pods().exec("slow", ["touch", "/tmp/started"], &parameters).await.expect("exec");
    touch.take_status().expect("status").await.expect("done");
    let ready = |pod: &Value| pod["status"]["containerStatuses"][0]["ready"] == true;
    cluster.wait("slow", "ready", ready).await;
    cluster.delete("slow", 1).await;
}

async fn environment_and_files(cluster: &Cluster) {
    let map = json!({"metadata": {"name": "settings"}, "data": {"color": "blue", "size": "small"}});
    let api = Api::<ConfigMap>::namespaced(cluster.client.clone(), "default");
    let map: ConfigMap = serde_json::from_value(map).expect("a map");
    api.create(&PostParams::default(), &map).await.expect("created");
    let script = "cat /etc/resolv.conf; grep $HOSTNAME /etc/hosts; echo $COLOR $WHO $BOTH $KUBERNETES_SERVICE_HOST; \
        cat /settings/size; echo; echo shared > /scratch/file; hostname";
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "settings", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}],
        "containers": [{"name": "main", "image": "nginx", "command": ["sh", "-c", script], "env": [
            {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
            {"name": "WHO", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "BOTH", "value": "$(COLOR)-$(WHO)"},
        ], "volumeMounts": [
            {"name": "settings", "mountPath": "/settings"}, {"name": "scratch", "mountPath": "/scratch"},
        ]}],
    });
    cluster.create("files", spec).await;
    let pod = cluster.wait("files", "done", |pod| pod["status"]["phase"] == "Succeeded").await;
    let address = pod["status"]["podIP"].as_str().expect("address");
    let log = cluster.pods().logs("files", &LogParams::default()).await.expect("log");
    let expected = format!(
        "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n\
         {address}\tfiles\nblue files blue-files 10.96.0.1\nsmall\nfiles\n"
    );
    assert_eq!(log, expected);
    cluster.delete("files", 30).await;
}

async fn init_containers_and_sidecars(cluster: &Cluster) {
    let shared = json!([{"name": "shared", "mountPath": "/shared"}]);
    let spec = json!({
        "volumes": [{"name": "shared", "emptyDir": {}}],
        "initContainers": [
            {"name": "first", "image": "nginx", "command": ["sh", "-c", "sleep 0.3; echo first > /shared/log"],
             "volumeMounts": shared},
            {"name": "side", "image": "nginx", "restartPolicy": "Always",
             "command": ["sh", "-c", "echo side >> /shared/log; exec sleep 1000"], "volumeMounts": shared},
        ],
        "containers": [{"name": "main", "image": "nginx", "volumeMounts": shared,
            "command": ["sh", "-c", "sleep 0.2; cat /shared/log; exec sleep 1000"]}],
    });
    cluster.create("ordered", spec).await;
    let pod = cluster
        .wait("ordered", "initializing", |pod| pod["status"]["initContainerStatuses"].is_array())
        .await;
    assert_eq!(pod["status"]["phase"], "Pending");
    assert_eq!(condition(&pod, "Initialized"), "False");
    cluster.running("ordered").await;
    cluster.logged("ordered", Some("main"), "first\nside\n").await;
    cluster.delete("ordered", 1).await;
}

async fn jobs_end(cluster: &Cluster) {
    for (policy, code, phase) in
        [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("OnFailure", 0, "Succeeded")]
    {
        let name = format!("job-{}-{code}", policy.to_lowercase());
        let command = ["sh", "-c", &format!("exit {code}")];
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "main", "image": "nginx", "command": command}]});
        cluster.create(&name, spec).await;
        let pod = cluster.wait(&name, phase, |pod| pod["status"]["phase"] == phase).await;
        let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
        assert_eq!(end["exitCode"], code);
        cluster.delete(&name, 30).await;
    }
}
