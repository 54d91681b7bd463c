//! What becomes of pods under the hands of a user: a rollout under load, containers that do not run.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::unistd::geteuid;
use testnet::harness::Trial;

use crate::program::{Cluster, Place, Who, eventually, trial};

pub(crate) fn trials() -> Vec<Trial> {
    let who = if geteuid().is_root() { Who::Root } else { Who::Ordinary };
    vec![
        trial("rollout_under_load".into(), who, rollout_under_load),
        trial("containers_that_do_not_run".into(), who, containers_that_do_not_run),
    ]
}

/// Asks until its standard input ends, then tells how often it was answered and how often not.
const CLIENT: &str = "echo started
while ! read -t 0 _; do
  if curl -s -o /dev/null --max-time 5 podinfo; then ok=$((ok + 1)); else bad=$((bad + 1)); fi
done
echo answered ${ok:-0} failed ${bad:-0}";

fn rollout_under_load(place: &Place) {
    let cluster = Cluster::start(place, "rollout", &[]);
    cluster
        .sluice(&["create", "deployment", "podinfo", "--image=podinfo", "--replicas=2", "--port=9898"])
        .ok();
    cluster.sluice(&["expose", "deployment", "podinfo", "--port=80", "--target-port=9898"]).ok();
    cluster.sluice(&["run", "client", "--image=nginx"]).ok();
    cluster.sluice(&["wait", "--for=condition=Available", "deployment/podinfo", "--timeout=20s"]).ok();
    cluster.sluice(&["wait", "--for=condition=Ready", "pod/client", "--timeout=20s"]).ok();

    let mut client = place
        .sluice(&["exec", "-i", "client", "--", "bash", "-c", CLIENT])
        .env("KUBECONFIG", &cluster.kubeconfig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starting the client");
    let mut lines = BufReader::new(client.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().and_then(Result::ok).as_deref(), Some("started"));
    cluster.sluice(&["rollout", "restart", "deployment/podinfo"]).ok();
    cluster.sluice(&["rollout", "status", "deployment/podinfo", "--timeout=30s"]).ok();
    cluster.sluice(&["scale", "deployment/podinfo", "--replicas=1"]).ok();
    eventually("the old pods are gone", 20, || {
        let names = cluster.sluice(&["get", "pods", "-l", "app=podinfo", "-o", "name"]).stdout;
        names.lines().count() == 1
    });
    drop(client.stdin.take());
    let told = lines.map_while(Result::ok).last().unwrap_or_default();
    client.wait().expect("waiting for the client");
    let words: Vec<&str> = told.split(' ').collect();
    assert!(matches!(words[..], ["answered", answered, "failed", "0"] if answered != "0"), "{told}");
    drop(cluster);
    place.nothing_is_left();
}

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: unknown}
spec: {containers: [{name: c, image: "mysql:8"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec: {containers: [{name: c, image: nginx, command: [sh, -c, "echo run; exit 3"]}]}
"#;

/// kubectl's and the kubelet's words, for `exec` and `logs` alike.
fn containers_that_do_not_run(place: &Place) {
    let cluster = Cluster::start(place, "idle", &["--nodes", "1"]);
    std::fs::write(place.folder.join("pods.yaml"), PODS).expect("writing the manifest");
    cluster.sluice(&["apply", "-f", "pods.yaml"]).ok();
    let column = |pod: &str, column: usize| {
        let row = cluster.sluice(&["get", "pod", pod, "--no-headers"]).stdout;
        row.split_whitespace().nth(column).unwrap_or_default().to_owned()
    };
    eventually("the image is refused", 10, || column("unknown", 2) == "ErrImagePull");
    eventually("the container is restarted once", 10, || {
        column("crash", 2) == "CrashLoopBackOff" && column("crash", 3) == "1"
    });
    for pod in ["unknown", "crash"] {
        let refused = cluster.sluice(&["exec", pod, "--", "true"]);
        assert_eq!(refused.code, Some(1));
        assert_eq!(
            refused.stderr,
            "error: Internal error occurred: unable to upgrade connection: container not found (\"c\")\n"
        );
    }
    let refused = cluster.sluice(&["logs", "unknown"]);
    assert_eq!(refused.code, Some(1));
    let words = "container \"c\" in pod \"unknown\" is waiting to start: image can't be pulled";
    assert_eq!(refused.stderr, format!("Error from server (BadRequest): {words}\n"));
    assert_eq!(cluster.sluice(&["logs", "crash"]).ok(), "run\n");
    assert_eq!(cluster.sluice(&["logs", "crash", "--previous"]).ok(), "run\n");
}
