//! What leads to a Service beside its ClusterIP, who may use it, and which endpoints it then reaches.

use std::net::IpAddr;

use serde_json::{Value, json};
use services::{Model, Protocol};

use super::super::{ForwardingTable, FrontendKey, NodeFacts, Packet, Pods};
use super::{Row, slice};

const HERE: Row<'static> = ("10.244.1.2", "worker-1", "ready");
const THERE: Row<'static> = ("10.244.2.2", "worker-2", "ready");

fn facts() -> NodeFacts {
    let addresses: Vec<IpAddr> = vec!["172.18.0.2".parse().unwrap(), "fd00::2".parse().unwrap()];
    NodeFacts::new("worker-1", ["10.96.0.0/16".parse().unwrap()])
        .with_addresses(&addresses)
        .recognising(Pods::Cidrs(["10.244.0.0/16".parse().unwrap()].into()))
}

fn snapshot(spec: Value, ingress: Value, rows: &[Row<'_>]) -> services::Snapshot {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.1.1"],
                 "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    let mut model = Model::new();
    model.apply_service(&serde_json::from_value(object).unwrap()).unwrap();
    model.apply_slice(&slice("web-0", "web", rows)).unwrap();
    model.snapshot()
}

fn table(spec: Value, ingress: Value, rows: &[Row<'_>]) -> ForwardingTable {
    ForwardingTable::build(facts(), &snapshot(spec, ingress, rows))
}

/// `=> …` of each packet, with ` masq` behind it when its connection is masqueraded.
fn judge(table: &ForwardingTable, source: &str, destination: &str) -> String {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let packet = Packet::new(source, Protocol::Tcp, destination);
    let outcome = table.judge(&packet);
    let super::super::Outcome::Forward(endpoints) = &outcome else { return outcome.to_string() };
    let masqueraded = |ip| table.masquerades(source, &packet.destination, ip);
    let list: Vec<String> = endpoints
        .iter()
        .map(|endpoint| format!("{}{}", endpoint.ip(), if masqueraded(endpoint.ip()) { " masq" } else { "" }))
        .collect();
    list.join(", ")
}

#[test]
fn every_address_of_a_service_is_a_frontend() {
    let spec = json!({"externalIPs": ["192.0.2.9"]});
    let ingress =
        json!([{"ip": "203.0.113.7"}, {"ip": "203.0.113.8", "ipMode": "Proxy"}, {"hostname": "lb"}]);
    let lines = table(spec, ingress, &[HERE, THERE]).lines();
    assert_eq!(
        lines,
        [
            "tcp 10.96.1.1:80 default/web => 10.244.1.2:9898, 10.244.2.2:9898",
            "tcp 172.18.0.2:30080 default/web node-port => 10.244.1.2:9898, 10.244.2.2:9898",
            "tcp 192.0.2.9:80 default/web external-ip => 10.244.1.2:9898, 10.244.2.2:9898",
            "tcp 203.0.113.7:80 default/web load-balancer => 10.244.1.2:9898, 10.244.2.2:9898",
            "hairpin 10.244.1.2",
            "service-cidr 10.96.0.0/16",
            "pods 10.244.0.0/16",
        ]
    );
}

#[test]
fn policy_cluster_masquerades_and_cluster_ips_only_what_is_not_a_pods() {
    let table = table(json!({}), json!([]), &[THERE]);
    for source in ["10.244.1.5", "172.18.0.2", "198.51.100.1"] {
        assert_eq!(judge(&table, source, "172.18.0.2:30080"), "10.244.2.2 masq");
    }
    assert_eq!(judge(&table, "10.244.1.5", "10.96.1.1:80"), "10.244.2.2");
    assert_eq!(judge(&table, "172.18.0.2", "10.96.1.1:80"), "10.244.2.2 masq");
    assert_eq!(judge(&table, "198.51.100.1", "10.96.1.1:80"), "10.244.2.2 masq");
}

#[test]
fn policy_local_keeps_the_source_and_serves_the_cluster_itself_by_policy_cluster() {
    let local = || json!({"externalTrafficPolicy": "Local"});
    let ingress = || json!([{"ip": "203.0.113.7"}]);
    let both = table(local(), ingress(), &[HERE, THERE]);
    for frontend in ["172.18.0.2:30080", "203.0.113.7:80"] {
        assert_eq!(judge(&both, "198.51.100.1", frontend), "10.244.1.2");
        assert_eq!(judge(&both, "10.244.1.5", frontend), "10.244.1.2, 10.244.2.2");
        assert_eq!(judge(&both, "172.18.0.2", frontend), "10.244.1.2 masq, 10.244.2.2 masq");
    }
    let elsewhere = table(local(), ingress(), &[THERE]);
    assert_eq!(judge(&elsewhere, "198.51.100.1", "203.0.113.7:80"), "drop");
    assert_eq!(judge(&elsewhere, "10.244.1.5", "203.0.113.7:80"), "10.244.2.2");
    assert_eq!(
        judge(&elsewhere, "10.244.1.5", "10.96.1.1:80"),
        "10.244.2.2",
        "the internal policy is Cluster"
    );
    let none = table(local(), ingress(), &[]);
    assert_eq!(judge(&none, "198.51.100.1", "203.0.113.7:80"), "reject");
}

#[test]
fn internal_local_does_not_touch_external_addresses() {
    let table = table(json!({"internalTrafficPolicy": "Local"}), json!([]), &[THERE]);
    assert_eq!(judge(&table, "10.244.1.5", "10.96.1.1:80"), "drop");
    assert_eq!(judge(&table, "10.244.1.5", "172.18.0.2:30080"), "10.244.2.2 masq");
}

#[test]
fn source_ranges_guard_the_load_balancer_only() {
    let spec = json!({"loadBalancerSourceRanges": [" 198.51.100.0/24", "2001:db8::/32"]});
    let guarded = table(spec, json!([{"ip": "203.0.113.7"}]), &[HERE]);
    assert_eq!(judge(&guarded, "198.51.100.9", "203.0.113.7:80"), "10.244.1.2 masq");
    for source in ["192.0.2.1", "172.18.0.2", "203.0.113.7", "10.244.1.5"] {
        assert_eq!(judge(&guarded, source, "203.0.113.7:80"), "drop", "{source}");
    }
    assert_eq!(judge(&guarded, "192.0.2.1", "172.18.0.2:30080"), "10.244.1.2 masq", "node ports bypass them");
    let spec = json!({"loadBalancerSourceRanges": ["172.18.0.0/24"]});
    let node = table(spec, json!([{"ip": "203.0.113.7"}]), &[HERE]);
    assert_eq!(judge(&node, "203.0.113.7", "203.0.113.7:80"), "10.244.1.2 masq");
    let spec = json!({"loadBalancerSourceRanges": ["198.51.100.0/24", "0.0.0.0/0"]});
    let open = table(spec, json!([{"ip": "203.0.113.7"}]), &[HERE]);
    assert_eq!(judge(&open, "192.0.2.1", "203.0.113.7:80"), "10.244.1.2 masq");
}

#[test]
fn undefined_ports_of_other_addresses_are_none_of_our_business() {
    let table = table(json!({}), json!([{"ip": "203.0.113.7"}]), &[HERE]);
    assert_eq!(judge(&table, "10.244.1.5", "203.0.113.7:81"), "pass");
    assert_eq!(judge(&table, "10.244.1.5", "172.18.0.2:22"), "pass");
    assert_eq!(judge(&table, "10.244.1.5", "10.96.1.1:81"), "reject");
}

#[test]
fn node_addresses_that_change_move_the_node_ports_and_nothing_else() {
    let snapshot = snapshot(json!({}), json!([]), &[HERE]);
    let mut table = ForwardingTable::build(facts(), &snapshot);
    let moved = facts().with_addresses(&["172.18.0.9".parse().unwrap()]);
    let touched = table.set_facts(moved.clone(), &snapshot);
    let key = |address: &str| FrontendKey::new(Protocol::Tcp, address.parse().unwrap(), 30080);
    assert_eq!(touched.frontends, [key("172.18.0.2"), key("172.18.0.9")].into());
    assert_eq!(table.lines(), ForwardingTable::build(moved, &snapshot).lines());
}

/// A hinted endpoint: address, node hints, zone hints, ready.
type Hinted<'a> = (&'a str, &'a [&'a str], &'a [&'a str], bool);

fn hinted(rows: &[Hinted<'_>]) -> Vec<String> {
    let names = |list: &[&str]| list.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
    let endpoints: Vec<Value> = rows
        .iter()
        .map(|(address, nodes, zones, ready)| {
            json!({"addresses": [address], "nodeName": "worker-9", "conditions": {"ready": ready},
                   "hints": {"forNodes": names(nodes), "forZones": names(zones)}})
        })
        .collect();
    let mut object = slice("web-0", "web", &[]);
    object.endpoints = Some(serde_json::from_value(json!(endpoints)).unwrap());
    let mut model = Model::new();
    model.apply_service(&super::service("web", "10.96.1.1", json!({}))).unwrap();
    model.apply_slice(&object).unwrap();
    let table = ForwardingTable::build(facts().in_zone(Some("east".into())), &model.snapshot());
    let key = FrontendKey::new(Protocol::Tcp, "10.96.1.1".parse().unwrap(), 80);
    let frontend = table.frontend(&key).unwrap();
    frontend.target.endpoints().iter().map(|endpoint| endpoint.ip().to_string()).collect()
}

/// kube-proxy's `topologyModeFromHints`: nodes before zones, and only if all ready endpoints have the hint and one is
/// for here.
#[test]
fn hints_narrow_the_ready_endpoints() {
    let (a, b, c) = ("10.244.2.1", "10.244.2.2", "10.244.2.3");
    let cases: &[(&str, &[Hinted<'_>], &[&str])] = &[
        ("zone", &[(a, &[], &["east"], true), (b, &[], &["west"], true)], &[a]),
        ("several zones", &[(a, &[], &["west", "east"], true), (b, &[], &["east"], true)], &[a, b]),
        ("one without a hint", &[(a, &[], &["east"], true), (b, &[], &[], true)], &[a, b]),
        ("none for this zone", &[(a, &[], &["west"], true), (b, &[], &["north"], true)], &[a, b]),
        ("an unready one does not count", &[(a, &[], &["east"], true), (b, &[], &[], false)], &[a]),
        ("node", &[(a, &["worker-1"], &["east"], true), (b, &["worker-2"], &["east"], true)], &[a]),
        (
            "no endpoint for this node: zones",
            &[(a, &["w-8"], &["east"], true), (b, &["w-9"], &["west"], true), (c, &["w-9"], &["east"], true)],
            &[a, c],
        ),
        ("nothing ready", &[(a, &[], &["east"], false)], &[]),
    ];
    for (name, rows, expected) in cases {
        assert_eq!(hinted(rows), *expected, "{name}");
    }
}
