//! `sluice trace` on a running cluster: a connection that works, several that do not, and real packets.

use testnet::harness::Trial;

use crate::program::{Cluster, Place, Shown, as_both, eventually};

pub(crate) fn trials() -> Vec<Trial> {
    as_both("trace", trace)
}

const OBJECTS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: typo}
spec: {selector: {app: podinf}, ports: [{port: 80, targetPort: 9898}]}
---
apiVersion: v1
kind: Service
metadata: {name: wrong-target}
spec: {selector: {app: podinfo}, ports: [{port: 80, targetPort: 9999}]}
---
apiVersion: v1
kind: Service
metadata: {name: near}
spec: {selector: {app: podinfo}, internalTrafficPolicy: Local, ports: [{port: 80, targetPort: 9898}]}
---
apiVersion: v1
kind: Service
metadata: {name: door}
spec:
  {type: NodePort, externalTrafficPolicy: Local, selector: {app: podinfo}, ports: [{port: 80, targetPort: 9898, nodePort: 30081}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: podinfo}, ports: [{port: 80, targetPort: 9898}]}
---
apiVersion: v1
kind: Service
metadata: {name: cart, namespace: kube-public}
spec: {selector: {app: cart}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: podinfo, labels: {app: podinfo}}
spec: {nodeName: worker-1, containers: [{name: c, image: podinfo, ports: [{containerPort: 9898}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: podinfo}
spec: {selector: {app: podinfo}, ports: [{port: 80, targetPort: 9898}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec: {nodeName: worker-2, containers: [{name: c, image: nginx}]}
"#;

fn trace(place: &Place) {
    let cluster = Cluster::start(place, "trace", &[]);
    std::fs::write(place.folder.join("objects.yaml"), OBJECTS).expect("writing the manifest");
    cluster.sluice(&["create", "namespace", "kube-public"]);
    cluster.sluice(&["apply", "-f", "objects.yaml"]).ok();
    for pod in ["pod/podinfo", "pod/client"] {
        cluster.sluice(&["wait", "--for=condition=Ready", pod, "--timeout=20s"]).ok();
    }
    eventually("the endpoint is known", 10, || asked(&cluster, &["client", "podinfo:80"]).code == Some(0));
    connects(&cluster);
    does_not(&cluster);
    from_outside(&cluster);
    real_packets(&cluster);
    as_json(&cluster);
    drop(cluster);
    place.nothing_is_left();
}

fn asked(cluster: &Cluster<'_>, words: &[&str]) -> Shown {
    cluster.sluice(&[&["trace"], words].concat())
}

#[track_caller]
fn says(shown: &Shown, code: i32, words: &[&str]) {
    for word in words {
        assert!(shown.stdout.contains(word), "{word:?} is not in\n{}{}", shown.stdout, shown.stderr);
    }
    assert_eq!(shown.code, Some(code), "{}{}", shown.stdout, shown.stderr);
}

fn connects(cluster: &Cluster<'_>) {
    let shown = asked(cluster, &["client", "podinfo:80"]);
    let words = [
        "pod default/client",
        "podinfo.default.svc.cluster.local",
        "the cluster IP and port of Service default/podinfo",
        "node worker-2 holds the same",
        "chains     { 5c00:1 : goto n1 }",
        "via 172.18.0.2 dev eth0",
        "it would connect",
    ];
    says(&shown, 0, &words);
    says(&asked(cluster, &["client", "headless:9898"]), 0, &["no Service's address", "it would connect"]);
    says(&asked(cluster, &["--node", "worker-1", "podinfo:80"]), 0, &["a process of node worker-1"]);
}

fn does_not(cluster: &Cluster<'_>) {
    let cases = [
        ("typo:80", "no pod of namespace default has them. Pod podinfo comes near, with app=podinfo."),
        ("podinfo:9898", "9898 is the port of its pods; the Service's own is 80."),
        ("headless:80", "which serve port 9898, not 80, and a headless Service translates no ports."),
        ("cart:80", "there is one in kube-public, whose name from here is cart.kube-public."),
        ("podinf:80", "did you mean podinfo?"),
        ("near:80", "none of its ready pods is on worker-2, where the packet enters; they are on worker-1."),
        ("10.96.250.250:80", "No Service has the address 10.96.250.250"),
    ];
    for (target, why) in cases {
        says(&asked(cluster, &["client", target]), 1, &[why]);
    }
    let nobody = asked(cluster, &["nobody", "podinfo:80"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(2), ""), "{}", nobody.stderr);
    assert!(nobody.stderr.contains("there is no pod nobody in namespace default"), "{}", nobody.stderr);
    let portless = asked(cluster, &["client", "podinfo"]);
    assert!(portless.code == Some(2) && portless.stderr.contains("HOST:PORT"), "{}", portless.stderr);
}

/// A node port with policy Local: served where the pod is, dropped elsewhere, and every node's own may use it.
fn from_outside(cluster: &Cluster<'_>) {
    let outside = ["--from-ip", "198.51.100.7"];
    let served = asked(cluster, &[outside[0], outside[1], "172.18.0.2:30081"]);
    says(
        &served,
        0,
        &["arrives at node worker-1", "a node port of Service default/door", "the source stays 198.51.100.7"],
    );
    let dropped = asked(cluster, &[outside[0], outside[1], "172.18.0.3:30081"]);
    says(
        &dropped,
        1,
        &["arrives at node worker-2", "not on this node (policy Local)", "externalTrafficPolicy: Local"],
    );
    let own = asked(cluster, &["--node", "worker-2", "172.18.0.3:30081", "--live"]);
    says(&own, 0, &["the source becomes worker-2's address", "it connects"]);
    let sent = asked(cluster, &[outside[0], outside[1], "172.18.0.2:30081", "--live"]);
    assert!(sent.code == Some(2) && sent.stderr.contains("neither"), "{}{}", sent.stdout, sent.stderr);
}

fn real_packets(cluster: &Cluster<'_>) {
    let works = asked(cluster, &["client", "podinfo:80", "--live"]);
    let words = ["\"one of 1\": accept", "out by eth0", "connection tracking: tcp 10.244.2.", "it connects"];
    says(&works, 0, &words);
    let dns = asked(cluster, &["client", "kube-dns.kube-system:53", "--proto", "udp", "--live"]);
    says(&dns, 0, &["\"to this node's own server\"", "it connects"]);
    says(
        &asked(cluster, &["client", "typo:80", "--live"]),
        1,
        &["refused after", "goto refuse", "it is refused"],
    );
    says(&asked(cluster, &["client", "near:80", "--live"]), 1, &["no answer within 2 s", "it times out"]);
    let wrong = asked(cluster, &["client", "wrong-target:80", "--live"]);
    says(&wrong, 1, &["pod podinfo (10.244.1.", "nothing listens on that port there"]);
    // The table that marked the packets is gone.
    let tables = cluster.sluice(&["node", "shell", "worker-2", "--", "nft", "list", "tables"]);
    assert!(!tables.stdout.contains("sluice-trace"), "{}", tables.stdout);
}

fn as_json(cluster: &Cluster<'_>) {
    let shown = asked(cluster, &["client", "podinfo:80", "-o", "json"]).ok();
    for field in
        ["\"verdict\": \"connects\"", "\"kind\": \"clusterIP\"", "\"standing\": \"in\"", "\"agrees\": true"]
    {
        assert!(shown.contains(field), "{field} is not in\n{shown}");
    }
}
