//! What is served, and what is refused.

use std::time::{Duration, Instant};

use crate::program::{Program, Said, ask, run};
use crate::site::{ADDRESS, Node, alone, eventually, get};

pub(crate) const SERVICE: &str = "apiVersion: v1
kind: Service
metadata: {name: web, labels: {app: web}}
spec: {clusterIP: 10.96.0.20, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: other}
spec: {clusterIP: 10.96.0.21, ports: [{port: 80}]}
";
pub(crate) const KUBE_DNS: &str = "apiVersion: v1
kind: Service
metadata: {name: kube-dns, namespace: kube-system}
spec: {clusterIP: 10.96.0.10, ports: [{name: dns, port: 53, protocol: UDP}]}
";
pub(crate) const WEB: &str = "web.default.svc.cluster.local";
const FOUND: Option<(u32, [u8; 4])> = Some((30, [10, 96, 0, 20]));

pub(crate) fn kubeadm() -> String {
    dns::corefile::kubeadm("cluster.local", "/etc/resolv.conf").replace("5s", "1s")
}

fn ready(address: &str) -> Option<u16> {
    get(address, "/ready").map(|answer| answer.status)
}

pub(crate) fn kubeadms_corefile_serves_with_coredns_flags() {
    alone(|node| {
        node.apply(SERVICE);
        let file = node.cluster.file("Corefile", &kubeadm());
        let pidfile = node.cluster.file("pid", "");
        let program = Program::start(node, &["dns", "-conf", &file, "-dns.port=53", "-pidfile", &pidfile]);
        eventually("it is ready", || ready("127.0.0.1:8181") == Some(200));
        for server in ["127.0.0.1:53", &format!("{ADDRESS}:53")] {
            assert_eq!(ask(server, WEB), Some(Said { rcode: 0, first: FOUND }), "{server}");
        }
        assert_eq!(ask("127.0.0.1:53", "no.default.svc.cluster.local").unwrap().rcode, 3);
        assert_eq!(ask("127.0.0.1:53", "example.com").unwrap().rcode, 2, "nobody is upstream");
        assert_eq!(get("127.0.0.1:8080", "/health").unwrap().body, "OK");
        let metrics = get(&format!("{ADDRESS}:9153"), "/metrics").unwrap().body;
        for start in [
            "coredns_build_info{version=",
            "coredns_plugin_enabled{server=\"dns://:53\",zone=\".\",view=\"\",name=\"kubernetes\"} 1\n",
            "coredns_dns_requests_total{server=\"dns://:53\",zone=\".\",view=\"\",proto=\"udp\",family=\"1\",type=\"A\"} 4\n",
            "coredns_dns_responses_total{server=\"dns://:53\",zone=\".\",view=\"\",rcode=\"NXDOMAIN\",plugin=\"kubernetes\"} 1\n",
            "coredns_cache_requests_total{server=\"dns://:53\",zones=\".\",view=\"\"} 1\n",
            "coredns_reload_version_info{hash=\"sha512\",value=\"",
            "coredns_health_request_failures_total 0\n",
        ] {
            assert!(metrics.contains(start), "{start}\n{metrics}");
        }
        eventually("its own health is measured", || {
            let metrics = get(&format!("{ADDRESS}:9153"), "/metrics").unwrap().body;
            metrics.contains("coredns_health_request_duration_seconds_count")
        });
        eventually("the failure is told", || {
            program.log().contains("[ERROR] plugin/errors: 2 example.com. A: ")
        });
        assert_eq!(std::fs::read_to_string(&pidfile).unwrap().trim(), program.id().to_string());
        let stopping = Instant::now();
        let asking = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            (ready("127.0.0.1:8181"), ask("127.0.0.1:53", WEB))
        });
        assert_eq!(program.stop(), 0);
        assert!(stopping.elapsed() >= Duration::from_secs(1), "lameduck");
        // The threads of a trial share its namespace only when they are made after it was entered, as this one is.
        let (status, said) = asking.join().unwrap();
        assert_eq!((status, said.unwrap().first), (Some(503), FOUND), "unready, and answering still");
    });
}

pub(crate) fn a_changed_file_is_taken_up_and_a_broken_one_is_not() {
    alone(|node| {
        node.apply(SERVICE);
        let text = kubeadm().replace("reload", "reload 2s 0s");
        let file = node.cluster.file("Corefile", &text);
        let program = Program::start(node, &["dns", "-conf", &file]);
        eventually("it is ready", || ready("127.0.0.1:8181") == Some(200));
        let lifetime = || ask("127.0.0.1:53", WEB).and_then(|said| said.first).map(|first| first.0);
        assert_eq!(lifetime(), Some(30));
        node.cluster.file("Corefile", &text.replace("ttl 30", "ttl 17"));
        eventually("the change is at work", || lifetime() == Some(17));
        node.cluster.file("Corefile", &text.replace("ttl 30", "ttl 9999"));
        eventually("the mistake is told", || {
            program.log().contains("Corefile:10:12: found \"9999\", expected a whole number from 0 to 3600")
        });
        assert_eq!(lifetime(), Some(17), "the old one stays");
        node.cluster.file("Corefile", &text);
        eventually("the next change is at work", || lifetime() == Some(30));
    });
}

pub(crate) fn what_is_not_served_is_refused_by_name() {
    alone(|node| {
        let file = node.cluster.file("Corefile", ".:53 {\n    forward . 127.0.0.1\n    dnssec\n}\n");
        let told = run(node, &["dns", "-conf", &file]);
        let expected =
            "Corefile:3:5: plugin \"dnssec\" is not served here: leave signing to a server upstream";
        assert!(told.code == 1 && told.err.contains(expected), "{told:?}");
        let broken = node.cluster.file("Broken", ".:53 {\n    forward\n}\n");
        let told = run(node, &["dns", "--conf", &broken]);
        assert!(told.code == 1 && told.err.contains("Broken:2:5: \"forward\" is not complete"), "{told:?}");
        let _program = Program::start(node, &["dns", "-conf", &file, "--skip-unsupported"]);
        eventually("it serves without", || ask("127.0.0.1:53", "a.b").is_some());
        let version = run(node, &["dns", "-version"]);
        assert!(version.code == 0 && version.out.starts_with("Sluice-"), "{version:?}");
        let plugins = run(node, &["dns", "-plugins"]);
        assert!(plugins.out.contains("dns.kubernetes\n"), "{plugins:?}");
    });
}

pub(crate) fn pods_are_verified_and_objects_selected() {
    alone(|node| {
        node.apply(SERVICE);
        node.apply("apiVersion: v1\nkind: Pod\nmetadata: {name: one}\nspec: {containers: [{name: a, image: nginx}]}\n");
        let kubeconfig = node.cluster.kubeconfig.display();
        let text = format!(
            ".:53 {{\n kubernetes cluster.local {{\n kubeconfig {kubeconfig}\n pods verified\n labels app=web\n ttl 30\n }}\n \
             ready\n}}\n"
        );
        let file = node.cluster.file("Corefile", &text);
        let _program = Program::start(node, &["dns", "-conf", &file]);
        eventually("it is ready", || ready("127.0.0.1:8181") == Some(200));
        assert_eq!(ask("127.0.0.1:53", WEB).unwrap().first, FOUND);
        assert_eq!(ask("127.0.0.1:53", "other.default.svc.cluster.local").unwrap().rcode, 3, "not selected");
        assert_eq!(
            ask("127.0.0.1:53", "10-9-9-9.default.pod.cluster.local").unwrap().rcode,
            3,
            "no such pod"
        );
        let address = || {
            let told = node.cluster.sluice(&["get", "pod", "one", "-o", "jsonpath={.status.podIP}"]);
            told.out.trim().replace('.', "-")
        };
        eventually("the pod has an address", || !address().is_empty());
        let name = format!("{}.default.pod.cluster.local", address());
        eventually("the pod has a name", || ask("127.0.0.1:53", &name).unwrap().rcode == 0);
    });
}

pub(crate) fn the_agent_follows_the_config_map() {
    alone(|node| {
        node.apply(SERVICE);
        node.apply(KUBE_DNS);
        put_config_map(node, &kubeadm().replace("ttl 30", "ttl 11"));
        let program = Program::start(node, &["agent", "--node-name=worker-1"]);
        let server = format!("{ADDRESS}:53");
        let lifetime = || ask(&server, WEB).and_then(|said| said.first).map(|first| first.0);
        eventually("it serves what the ConfigMap says", || lifetime() == Some(11));
        put_config_map(node, &kubeadm().replace("ttl 30", "ttl 13"));
        eventually("it follows the ConfigMap", || lifetime() == Some(13));
        put_config_map(node, &kubeadm().replace("ttl 30", "ttl thirteen"));
        eventually("the mistake is told", || {
            program.log().contains("kube-system/coredns/Corefile:10:12: found \"thirteen\"")
        });
        assert_eq!(lifetime(), Some(13));
        let event = || {
            let events = ["get", "events", "-n", "kube-system", "-o", "jsonpath={.items[*].message}"];
            node.cluster.sluice(&events).out
        };
        eventually("an Event says so on the ConfigMap", || {
            event().contains("kube-system/coredns/Corefile:10:12: found \"thirteen\"")
        });
        put_config_map(node, &kubeadm().replace("pods insecure", "pods insecure\n       labels a=b"));
        eventually("and of the next mistake in its own words", || {
            event().contains("start the program again")
        });
        eventually("what a running agent cannot change is told", || {
            program.log().contains("start the program again")
        });
        assert_eq!(lifetime(), Some(13));
        node.cluster.sluice(&["delete", "configmap", "coredns", "-n", "kube-system"]);
        eventually("without it kubeadm's serves", || lifetime() == Some(30));
        assert_eq!(get("127.0.0.1:8080", "/health").unwrap().status, 200);
        assert!(get(&format!("{ADDRESS}:9153"), "/metrics").is_none(), "a node's metrics are for itself");
        assert!(get("127.0.0.1:9153", "/metrics").unwrap().body.contains("coredns_dns_requests_total"));
    });
}

pub(crate) fn who_asks_what_can_be_watched() {
    alone(|node| {
        node.apply(SERVICE);
        let file = node.cluster.file("Corefile", &kubeadm());
        let _program = Program::start(node, &["dns", "-conf", &file]);
        eventually("it is ready", || ready("127.0.0.1:8181") == Some(200));
        ask("127.0.0.1:53", WEB);
        let asking = std::thread::spawn(|| {
            for _ in 0..40 {
                ask("127.0.0.1:53", WEB);
                ask("127.0.0.1:53", "no.default.svc.cluster.local");
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let top = |words: &[&str]| run(node, &[&["dns", "top", "--once", "--interval=1"], words].concat());
        let text = top(&[]);
        assert!(text.code == 0 && text.out.starts_with("DNS of this machine: "), "{text:?}");
        let line = text.out.lines().find(|line| line.starts_with("no.default.svc.cluster.local. ")).unwrap();
        let numbers: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(numbers[1], numbers[3], "each was NXDOMAIN: {line}");
        let json: serde_json::Value = serde_json::from_str(&top(&["-o", "json", "--most=1"]).out).unwrap();
        assert_eq!(json["names"].as_array().unwrap().len(), 1, "{json}");
        assert_eq!(json["clients"][0]["name"], "127.0.0.1", "{json}");
        assert!(
            json["rcodes"]["NOERROR"].as_u64().unwrap() > 0 && json["plugins"]["kubernetes"].is_u64(),
            "{json}"
        );
        asking.join().unwrap();
    });
}

pub(crate) fn put_config_map(node: &Node, text: &str) {
    let map = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": "kube-system"}, "data": {"Corefile": text}});
    node.apply(&map.to_string());
}
