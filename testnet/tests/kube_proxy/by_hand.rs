//! What no generator asks: source ranges that overlap, a load balancer's own address as the source, packets that come late, a
//! datagram in fragments. Each packet once, to Services with one endpoint elsewhere.

use std::fs;
use std::net::SocketAddr;

use dataplane::forwarding_table::ForwardingTable;
use serde_json::{Value, json};
use services::Protocol;
use testnet::harness::Trial;
use testnet::judge::plane::Plane;
use testnet::oracle::kube_proxy::{self, KubeProxy};
use testnet::oracle::node::{Form, Node, Way};
use testnet::oracle::objects::ObjectSet;
use testnet::oracle::profile::PROFILES;
use testnet::oracle::question::Destination;

use super::sets::node;
use super::{done, program, recording, updates};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new("kernel::by_hand", || done(sluice_agrees())),
        Trial::new("kube_proxy::by_hand", || done(kube_proxy_agrees())),
    ]
}

/// Its endpoint.
const ENDPOINT: &str = "10.244.2.15";
/// Addresses of load balancers: with the node in overlapping source ranges, and with ranges that do not have it.
const OVERLAPPING: &str = "203.0.113.7:80";
const ELSEWHERE: &str = "203.0.113.8:80";
const CLUSTER_IP: &str = "10.96.10.1:80";
const NODE_PORT: &str = "172.18.0.2:30080";
const UDP: &str = "10.96.10.3:53";
const NODE: &str = "172.18.0.2";
const POD: &str = "10.244.128.9";
const OUTSIDE: &str = "198.18.0.9";

/// Who sends from which address to which Service, and in which form.
const PACKETS: &[(Way, &str, &str, Form)] = &[
    (Way::Wire, "198.18.0.5", OVERLAPPING, Form::Opening),
    (Way::Wire, "198.18.0.200", OVERLAPPING, Form::Opening),
    (Way::Wire, "198.18.1.1", OVERLAPPING, Form::Opening),
    (Way::Wire, "198.18.255.255", OVERLAPPING, Form::Opening),
    (Way::Wire, "198.19.0.0", OVERLAPPING, Form::Opening),
    (Way::Own, NODE, OVERLAPPING, Form::Opening),
    (Way::Own, "203.0.113.7", OVERLAPPING, Form::Opening),
    (Way::Wire, "203.0.113.7", OVERLAPPING, Form::Opening),
    (Way::Own, "203.0.113.8", ELSEWHERE, Form::Opening),
    (Way::Own, NODE, ELSEWHERE, Form::Opening),
    (Way::Wire, OUTSIDE, ELSEWHERE, Form::Opening),
    (Way::Pods, POD, CLUSTER_IP, Form::Reset),
    (Way::Own, NODE, CLUSTER_IP, Form::Reset),
    (Way::Wire, OUTSIDE, CLUSTER_IP, Form::Reset),
    (Way::Pods, POD, CLUSTER_IP, Form::Finish),
    (Way::Own, NODE, CLUSTER_IP, Form::Finish),
    (Way::Wire, OUTSIDE, CLUSTER_IP, Form::Finish),
    (Way::Wire, OUTSIDE, OVERLAPPING, Form::Reset),
    (Way::Wire, OUTSIDE, OVERLAPPING, Form::Finish),
    (Way::Wire, OUTSIDE, NODE_PORT, Form::Reset),
    (Way::Wire, OUTSIDE, NODE_PORT, Form::Finish),
    (Way::Pods, POD, UDP, Form::Fragments),
    (Way::Wire, OUTSIDE, UDP, Form::Fragments),
    (Way::Own, NODE, UDP, Form::Fragments),
];

/// Why an answer may differ from kube-proxy's; `None` when it may not.
fn deliberate(theirs: &str, ours: &str) -> Option<&'static str> {
    let late = [" Reset => ", " Finish => "].iter().any(|form| theirs.contains(form));
    (late && theirs.contains(CLUSTER_IP) && theirs.ends_with(" pass") && ours.ends_with(" drop")).then_some(
        "a packet of no known flow, which nothing translates, carries no service address off the node",
    )
}

fn objects() -> ObjectSet {
    let service = |name: &str, ip: &str, protocol: &str, more: Value| {
        let mut spec = json!({
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None", "internalTrafficPolicy": "Cluster",
            "ports": [{"protocol": protocol, "port": if protocol == "UDP" { 53 } else { 80 }, "targetPort": 9898}],
        });
        if let (Value::Object(spec), Value::Object(more)) = (&mut spec, more) {
            spec.extend(more);
        }
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec,
               "status": {"loadBalancer": {}}})
    };
    let balanced = |name: &str, ip: &str, balancer: &str, node_port: u16, ranges: &[&str]| {
        let mut service = service(
            name,
            ip,
            "TCP",
            json!({
                "type": "LoadBalancer", "externalTrafficPolicy": "Cluster", "loadBalancerSourceRanges": ranges,
                "ports": [{"protocol": "TCP", "port": 80, "targetPort": 9898, "nodePort": node_port}],
            }),
        );
        service["status"] = json!({"loadBalancer": {"ingress": [{"ip": balancer, "ipMode": "VIP"}]}});
        service
    };
    let overlapping = ["198.18.0.0/16", "198.18.0.0/24", "198.18.0.128/25", "198.18.1.1/32", "172.18.0.0/16"];
    let services = [
        service("cluster", "10.96.10.1", "TCP", json!({})),
        balanced("overlapping", "10.96.10.2", "203.0.113.7", 30080, &overlapping),
        service("datagrams", "10.96.10.3", "UDP", json!({})),
        balanced("elsewhere", "10.96.10.4", "203.0.113.8", 30081, &["198.18.0.0/16"]),
    ];
    let slices = services.iter().map(|service| {
        let name = &service["metadata"]["name"];
        let protocol = &service["spec"]["ports"][0]["protocol"];
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"name": "", "protocol": protocol, "port": 9898}],
            "endpoints": [{"addresses": [ENDPOINT], "nodeName": "worker-2", "conditions": {"ready": true}}],
        })
    });
    let slices: Vec<Value> = slices.collect();
    ObjectSet {
        seed: 0,
        services: services.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect(),
        slices: slices.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect(),
        objects: services.into_iter().chain(slices).collect(),
    }
}

/// One line for each packet.
fn ask(node: &mut Node) -> Vec<String> {
    let ask = |(port, (way, source, to, form)): (u16, &(Way, &str, &str, Form))| {
        let source = SocketAddr::new(source.parse().unwrap(), 40_000 + port);
        let protocol = if *to == UDP { Protocol::Udp } else { Protocol::Tcp };
        let to = Destination { address: to.parse().unwrap(), protocol };
        let fate = node.send_form(*way, source, to, *form).unwrap();
        format!("{way:?} {} -> {to} {form:?} => {fate}", source.ip())
    };
    (0..).zip(PACKETS).map(ask).collect()
}

fn sluice_agrees() -> Vec<String> {
    let profile = &PROFILES[0];
    let mut node = node(&profile.site());
    let table = ForwardingTable::new(profile.node_facts());
    let mut plane = Plane::open(node.namespace(), table).unwrap();
    let mut model = objects().model();
    let changes = model.take_changes();
    plane.sync_snapshot(&model.snapshot(), &changes).unwrap();
    let text = fs::read_to_string(recording("by-hand")).unwrap();
    let theirs = text.lines().filter(|line| !line.starts_with('#'));
    let different = theirs.zip(ask(&mut node)).filter(|(theirs, ours)| theirs != ours);
    let unexpected = different.filter(|(theirs, ours)| deliberate(theirs, ours).is_none());
    unexpected.map(|(theirs, ours)| format!("Sluice      {ours}\n    kube-proxy  {theirs}")).collect()
}

/// kube-proxy does what was recorded, or is recorded.
fn kube_proxy_agrees() -> Vec<String> {
    let program = program();
    let mut node = node(&PROFILES[0].site());
    let mut proxy = KubeProxy::start(&program, &node).unwrap();
    proxy.load(&mut node, &objects()).unwrap();
    let version = kube_proxy::version(&program).unwrap();
    let text = format!("# {version}\n{}\n", ask(&mut node).join("\n"));
    if updates() {
        fs::write(recording("by-hand"), text).unwrap();
        return Vec::new();
    }
    let known = fs::read_to_string(recording("by-hand")).unwrap();
    let differs = known.lines().zip(text.lines()).skip(1).filter(|(known, now)| known != now);
    differs.map(|(known, now)| format!("recorded  {known}\n    now       {now}")).collect()
}
