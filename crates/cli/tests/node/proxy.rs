//! What a proxy tells of itself, and what it follows.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::program::run;
use crate::site::{ADDRESS, alone, dump, eventually, get, ip};

const HEALTHZ: &str = "127.0.0.1:10256";

pub(crate) fn health_and_metrics_are_those_of_kube_proxy() {
    alone(|node| {
        let proxy = node.proxy("iptables: {masqueradeBit: 3}\nfeatureGates: {SomeGate: true}\n");
        let warned = "without effect on Sluice: featureGates, iptables.masqueradeBit";
        assert!(proxy.log().contains(warned), "{}", proxy.log());

        eventually("the node is eligible", || get(HEALTHZ, "/healthz").unwrap().status == 200);
        let healthz = get(HEALTHZ, "/healthz").unwrap();
        assert!(healthz.head.contains("content-type: application/json"), "{healthz:?}");
        let told = healthz.json();
        assert_eq!((&told["nodeEligible"], &told["healthy"]), (&true.into(), &true.into()), "{told}");
        assert_eq!(told["status"]["IPv4"]["healthy"], true, "{told}");
        assert_eq!(
            get(&format!("{ADDRESS}:10256"), "/healthz").unwrap().status,
            200,
            "by the node's address"
        );
        assert_eq!(get(HEALTHZ, "/dump/services").unwrap().status, 200);
        assert_eq!(
            get(&format!("{ADDRESS}:10256"), "/dump/services").unwrap().status,
            403,
            "not on loopback"
        );

        node.patch_node(
            r#"{"spec":{"taints":[{"key":"ToBeDeletedByClusterAutoscaler","value":"1","effect":"NoSchedule"}]}}"#,
        );
        eventually("the node is to be deleted", || get(HEALTHZ, "/healthz").unwrap().status == 503);
        assert_eq!(get(HEALTHZ, "/healthz").unwrap().json()["nodeEligible"], false);
        let livez = get(HEALTHZ, "/livez").unwrap();
        assert_eq!((livez.status, livez.json().get("nodeEligible")), (200, None));

        let metrics = || get("127.0.0.1:10249", "/metrics").unwrap();
        assert!(metrics().head.contains("content-type: text/plain; version=0.0.4"), "{:?}", metrics());
        assert!(get(&format!("{ADDRESS}:10249"), "/metrics").is_none(), "metrics are on loopback");
        for line in [
            "kubeproxy_proxy_healthz_total{code=\"503\"} ",
            "kubeproxy_proxy_livez_total{code=\"200\"} 1\n",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1\n",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 0\n",
            "sluice_services 2\n",
            "process_resident_memory_bytes ",
        ] {
            assert!(metrics().body.contains(line), "{line}: {}", metrics().body);
        }
        assert_eq!(get("127.0.0.1:10249", "/proxyMode").unwrap().body, "nftables");

        let counter = "sluice_service_connections_total{namespace=\"default\",port_name=\"https\",protocol=\"TCP\",service=\"kubernetes\"} 1\n";
        assert!(!metrics().body.contains("sluice_service_connections_total"), "nobody has connected yet");
        // Output chains see what has a route, wherever that leads.
        ip("route add 10.96.0.0/16 dev lo");
        let _ = TcpStream::connect_timeout(&"10.96.0.1:443".parse().unwrap(), Duration::from_millis(200));
        assert!(
            metrics().body.contains(counter),
            "{} {}",
            get(HEALTHZ, "/dump/nft").unwrap().body,
            metrics().body
        );
    });
}

/// A Service with one endpoint here and one elsewhere; the slice tells when it was triggered.
pub(crate) fn service(triggered: &str, ready: bool) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{name: checked}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  healthCheckNodePort: 32100
  ports: [{{port: 80}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: checked-1
  labels: {{kubernetes.io/service-name: checked}}
  annotations: {{endpoints.kubernetes.io/last-change-trigger-time: "{triggered}"}}
addressType: IPv4
ports: [{{port: 8080}}]
endpoints:
- {{addresses: [10.244.1.5], nodeName: worker-1, conditions: {{ready: {ready}}}}}
- {{addresses: [10.244.2.5], nodeName: worker-2, conditions: {{ready: true}}}}
"#
    )
}

pub(crate) fn a_service_is_checked_on_its_health_check_port() {
    alone(|node| {
        let _proxy = node.proxy("");
        let check = || get(&format!("{ADDRESS}:32100"), "/");
        assert!(check().is_none(), "there is no such service yet");
        let now = || jiff::Timestamp::now().to_string();
        node.apply(&service(&now(), true));
        eventually("the check is answered", || check().is_some_and(|answer| answer.status == 200));
        let answer = check().unwrap();
        let told = "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"checked\"\n\t},\n\t\"localEndpoints\": 1,\n\t\"serviceProxyHealthy\": true\n}";
        assert_eq!(answer.body, told);
        assert!(answer.head.contains("x-load-balancing-endpoint-weight: 1"), "{answer:?}");
        let measured = "kubeproxy_network_programming_duration_seconds_count{ip_family=\"IPv4\"} ";
        let metrics = get("127.0.0.1:10249", "/metrics").unwrap().body;
        assert!(metrics.contains(measured), "{metrics}");

        node.apply(&service(&now(), false));
        eventually("no endpoint is here", || check().is_some_and(|answer| answer.status == 503));
        assert_eq!(check().unwrap().json()["localEndpoints"], 0);
        let deleted = node.cluster.sluice(&["delete", "service", "checked"]);
        assert_eq!(deleted.code, 0, "{deleted:?}");
        eventually("nobody listens any more", || check().is_none());
    });
}

pub(crate) fn a_port_that_is_taken_is_told_by_an_event() {
    alone(|node| {
        let _proxy = node.proxy("");
        let taken = std::net::TcpListener::bind(format!("{ADDRESS}:32100")).unwrap();
        node.apply(&service(&jiff::Timestamp::now().to_string(), true));
        let events = || node.cluster.sluice(&["get", "events"]).out;
        eventually("the Event is there", || events().contains("FailedToStartServiceHealthcheck"));
        let line = events().lines().find(|line| line.contains("FailedToStart")).unwrap().to_owned();
        assert!(line.contains("service/checked") && line.contains("Address already in use"), "{line}");
        drop(taken);
    });
}

pub(crate) fn node_and_subnets_are_followed() {
    alone(|node| {
        let _proxy = node.proxy("nodePortAddresses: [10.9.0.0/16, primary]\n");
        node.apply(
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {type: NodePort, ports: [{port: 80, nodePort: 31000}]}\n",
        );
        let has = |place: &str| dump("forwarding").contains(place);
        eventually("the primary address serves the node port", || has(&format!("{ADDRESS}:31000")));
        ip("address add 10.9.0.1/32 dev lo");
        eventually("an address in the subnet serves it too", || has("10.9.0.1:31000"));
        ip("address del 10.9.0.1/32 dev lo");
        eventually("an address that is gone does not", || !has("10.9.0.1:31000"));
        node.apply(
            "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: more}\nspec: {cidrs: [10.97.0.0/24]}\n",
        );
        eventually("the new subnet is in the kernel", || dump("nft").contains("10.97.0.0/24"));
    });
}

pub(crate) fn what_another_proxy_forwards_is_left_alone() {
    alone(|node| {
        let _proxy = node.proxy("");
        node.apply(&service(&jiff::Timestamp::now().to_string(), true));
        let has = || dump("services").contains("default/checked");
        eventually("the Service is here", has);
        let label = |words: &[&str]| {
            let told = node.cluster.sluice(&[&["label", "service", "checked"], words].concat());
            assert_eq!(told.code, 0, "{told:?}");
        };
        let programmed = || dump("nft").contains("default/checked");
        label(&["service.kubernetes.io/service-proxy-name=other"]);
        eventually("the Service is another's", || !programmed());
        label(&["service.kubernetes.io/service-proxy-name-"]);
        eventually("the Service is ours again", programmed);
    });
}

pub(crate) fn a_least_period_between_syncs_is_kept() {
    alone(|node| {
        let _proxy = node.proxy("nftables: {minSyncPeriod: 3s}\n");
        let service = |name: &str| {
            node.apply(&format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n"
            ));
        };
        let programmed = |name: &str| dump("nft").contains(name);
        service("first");
        eventually("the first is programmed", || programmed("default/first"));
        let began = Instant::now();
        service("second");
        eventually("the second is programmed", || programmed("default/second"));
        let waited = began.elapsed();
        assert!(waited > Duration::from_secs(2), "the second came after {waited:?}");
    });
}

/// The names of the tables in this namespace.
fn tables() -> String {
    let listed = Command::new("nft").args(["list", "tables"]).output();
    listed.map(|output| String::from_utf8(output.stdout).unwrap()).unwrap_or_default()
}

pub(crate) fn clean_up_removes_the_rules_and_nothing_else() {
    alone(|node| {
        if Command::new("nft").arg("--version").output().is_err() {
            testnet::harness::skip("there is no nft");
        }
        let other = Command::new("nft").args(["add", "table", "ip", "other"]).status().unwrap();
        assert!(other.success());
        drop(node.proxy(""));
        let before = tables();
        assert!(before.contains("sluice") && before.contains("table ip other"), "{before}");
        let told = run(node, &["proxy", "--cleanup", "--config", &node.configuration("")]);
        assert_eq!(told.code, 0, "{told:?}");
        assert_eq!(tables(), "table ip other\n");
        let again = run(node, &["proxy", "--cleanup"]);
        assert_eq!(again.code, 0, "{again:?}");
    });
}

pub(crate) fn an_edited_configuration_ends_the_program() {
    alone(|node| {
        let refused = run(node, &["proxy", "--config", &node.configuration("ipvs: {schedular: rr}\n")]);
        assert_eq!(refused.code, 1, "{refused:?}");
        assert!(refused.err.contains("unknown field \"ipvs.schedular\""), "{refused:?}");

        let mut proxy = node.proxy("");
        node.configuration("bindAddressHardFail: true\n");
        eventually("the program ended", || proxy.ended() == Some(1));
        assert!(proxy.log().contains("was edited"), "{}", proxy.log());
    });
}
