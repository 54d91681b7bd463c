//! Pods that go wrong, and a node that dies.

use std::time::Instant;

use kube::api::LogParams;
use pods::cgroup::Hierarchy;
use serde_json::{Value, json};

use crate::cluster::Cluster;

pub(crate) async fn run(cluster: &Cluster) {
    unknown_images_are_reported(cluster).await;
    crashes_back_off(cluster).await;
    commands_that_do_not_exist(cluster).await;
    missing_configuration(cluster).await;
    liveness_restarts(cluster).await;
    limits_hold_or_are_reported(cluster).await;
    host_namespaces_are_refused(cluster).await;
    the_node_dies_and_comes_back(cluster).await;
}

fn waiting(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["waiting"]
}

async fn unknown_images_are_reported(cluster: &Cluster) {
    cluster.create("unknown", json!({"containers": [{"name": "main", "image": "busybox:1.36"}]})).await;
    let pod = cluster.wait("unknown", "refused", |pod| waiting(pod)["reason"] == "ErrImagePull").await;
    let message = waiting(&pod)["message"].as_str().expect("message");
    assert!(message.contains("busybox:1.36") && message.contains("podinfo"), "{message}");
    assert_eq!(pod["status"]["phase"], "Pending");
    cluster.wait("unknown", "backing off", |pod| waiting(pod)["reason"] == "ImagePullBackOff").await;
    cluster.event("unknown", "Failed: Error: ImagePullBackOff").await;
    cluster.delete("unknown", 30).await;
}

async fn crashes_back_off(cluster: &Cluster) {
    let command = ["sh", "-c", "echo run; exit 2"];
    cluster
        .create("crash", json!({"containers": [{"name": "main", "image": "nginx", "command": command}]}))
        .await;
    let pod = cluster.wait("crash", "backing off", |pod| waiting(pod)["reason"] == "CrashLoopBackOff").await;
    let container = &pod["status"]["containerStatuses"][0];
    assert_eq!(container["lastState"]["terminated"]["exitCode"], 2, "{container:#}");
    assert_eq!(container["restartCount"], 1, "the first restart was immediate, the second is still to come");
    assert!(
        waiting(&pod)["message"]
            .as_str()
            .expect("message")
            .starts_with("back-off 10s restarting failed container=main")
    );
    assert_eq!(pod["status"]["phase"], "Running");
    cluster.event("crash", "BackOff: Back-off restarting failed container main in pod crash_default(").await;
    for previous in [false, true] {
        let parameters = LogParams { previous, ..LogParams::default() };
        assert_eq!(cluster.pods().logs("crash", &parameters).await.expect("log"), "run\n");
    }
    let begun = Instant::now();
    cluster.delete("crash", 30).await;
    assert!(begun.elapsed().as_secs() < 2, "a waiting container ends at once");
}

async fn commands_that_do_not_exist(cluster: &Cluster) {
    let spec = json!({"restartPolicy": "Never",
        "containers": [{"name": "main", "image": "nginx", "command": ["no-such-program"]}]});
    cluster.create("nothing", spec).await;
    let pod = cluster.wait("nothing", "failed", |pod| pod["status"]["phase"] == "Failed").await;
    let end = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&end["exitCode"], &end["reason"]), (&json!(128), &json!("StartError")));
    assert_eq!(end["message"], "exec \"no-such-program\": executable file not found in $PATH");
    cluster.delete("nothing", 30).await;
}

async fn missing_configuration(cluster: &Cluster) {
    let env = json!([{"name": "A", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "a"}}}]);
    cluster.create("missing", json!({"containers": [{"name": "main", "image": "nginx", "env": env}]})).await;
    let pod = cluster
        .wait("missing", "waiting", |pod| waiting(pod)["reason"] == "CreateContainerConfigError")
        .await;
    assert_eq!(waiting(&pod)["message"], "secret \"absent\" not found");
    cluster.delete("missing", 30).await;
}

async fn liveness_restarts(cluster: &Cluster) {
    let spec = json!({"terminationGracePeriodSeconds": 1, "containers": [{
        "name": "main", "image": "nginx", "command": ["sh", "-c", "touch /tmp/ok; sleep 1; rm /tmp/ok; exec sleep 1000"],
        "livenessProbe": {"exec": {"command": ["test", "-e", "/tmp/ok"]}, "periodSeconds": 1, "failureThreshold": 1},
    }]});
    cluster.create("unwell", spec).await;
    let restarted = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64() > Some(0);
    cluster.wait("unwell", "restarted", restarted).await;
    cluster.event("unwell", "Killing: Container main failed liveness probe, will be restarted").await;
    cluster.delete("unwell", 0).await;
}

async fn limits_hold_or_are_reported(cluster: &Cluster) {
    let command = ["sh", "-c", "head -c 200000000 /dev/zero | tail -c 100000000 | wc -c; exit 9"];
    let spec = json!({"restartPolicy": "Never", "containers": [{"name": "main", "image": "nginx",
        "command": command, "resources": {"limits": {"memory": "32Mi", "cpu": "500m"}}}]});
    cluster.create("hungry", spec).await;
    cluster.wait("hungry", "failed", |pod| pod["status"]["phase"] == "Failed").await;
    let log = cluster.pods().logs("hungry", &LogParams::default()).await.expect("log");
    assert!(log.contains("0\n") && !log.contains("100000000"), "{log}");
    if !Hierarchy::detect().limits_memory() {
        cluster
            .event("hungry", "LimitsNotEnforced: No writable cgroup: memory is limited for each process")
            .await;
    }
    cluster.delete("hungry", 30).await;
}

async fn host_namespaces_are_refused(cluster: &Cluster) {
    cluster
        .create("host", json!({"hostNetwork": true, "containers": [{"name": "main", "image": "nginx"}]}))
        .await;
    let pod = cluster.wait("host", "failed", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "UnsupportedPod");
    cluster.delete("host", 30).await;
}

async fn the_node_dies_and_comes_back(cluster: &Cluster) {
    cluster.create("survivor", json!({"containers": [{"name": "main", "image": "podinfo"}]})).await;
    let before = cluster.running("survivor").await;
    let id = before["status"]["containerStatuses"][0]["containerID"].clone();
    cluster.kill_node();
    cluster.start_node();
    let is_new = |pod: &Value| {
        let container = &pod["status"]["containerStatuses"][0];
        container["state"]["running"].is_object() && container["containerID"] != id
    };
    let pod = cluster.wait("survivor", "running again", is_new).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 1);
    let address = pod["status"]["podIP"].as_str().expect("address");
    std::net::TcpStream::connect((address, 9898)).expect("it answers");
    cluster.delete("survivor", 0).await;
}

/// A node that is stopped ends its containers at once, whatever they do, and leaves no control group.
pub(crate) async fn stop(cluster: &Cluster) {
    let command = ["sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"];
    let spec = json!({"containers": [{"name": "main", "image": "nginx", "command": command,
        "resources": {"limits": {"memory": "64Mi"}}}]});
    cluster.create("last", spec).await;
    cluster.running("last").await;
    let begun = Instant::now();
    assert!(cluster.stop().await);
    assert!(begun.elapsed().as_millis() < 900, "took {:?}", begun.elapsed());
    assert_eq!(pods::cgroup::remove_stale(&Hierarchy::detect()), 0, "nothing was left to remove");
}
