//! Services of all types.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::Random;
use crate::oracle::profile::ADDRESSES;

/// Ports by name: protocol and number.
const PORTS: [(&str, &str, u16); 7] = [
    ("http", "TCP", 80),
    ("https", "TCP", 443),
    ("dns", "UDP", 53),
    ("dns-tcp", "TCP", 53),
    ("log", "UDP", 514),
    ("m3ua", "SCTP", 2905),
    ("alt", "TCP", 8080),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIp,
    NodePort,
    LoadBalancer,
    Headless,
    ExternalName,
}

const KINDS: [(usize, Kind); 5] = [
    (45, Kind::ClusterIp),
    (15, Kind::NodePort),
    (30, Kind::LoadBalancer),
    (5, Kind::Headless),
    (5, Kind::ExternalName),
];

const FAMILIES: [(usize, &[&str]); 4] =
    [(45, &["IPv4"]), (15, &["IPv6"]), (28, &["IPv4", "IPv6"]), (12, &["IPv6", "IPv4"])];

/// None contains another.
const RANGES: [&str; 9] = [
    "198.19.0.0/16",
    " 198.18.0.0/16 ",
    "10.244.128.0/17",
    "172.18.0.2/32",
    "172.18.0.3/32",
    "2001:db8:100::/48",
    "fd00:10:244::/48",
    "fd00:172:18::2/128",
    "10.244.64.0/18",
];

/// What is taken already, so that no two Services claim the same.
struct Taken {
    /// Address, protocol, port.
    frontends: HashSet<(String, String, u16)>,
    next_node_port: u16,
}

pub(super) fn services(random: &mut Random) -> Vec<Value> {
    let mut taken = Taken { frontends: HashSet::new(), next_node_port: 30_000 };
    let names = ["web", "db", "api", "mail"];
    let count = 1 + random.below(names.len());
    names[..count].iter().enumerate().map(|(index, name)| service(random, name, index, &mut taken)).collect()
}

fn service(random: &mut Random, name: &str, index: usize, taken: &mut Taken) -> Value {
    let kind = *random.weighted(&KINDS);
    let mut object = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": {}},
        "spec": {"type": "ClusterIP", "sessionAffinity": "None"},
        "status": {"loadBalancer": {}},
    });
    let label = match random.below(100) {
        0..6 => Some("service.kubernetes.io/service-proxy-name"),
        6..8 => Some("service.kubernetes.io/headless"),
        _ => None,
    };
    if let Some(label) = label {
        object["metadata"]["labels"][label] = json!("other");
    }
    let ports = ports(random);
    if kind == Kind::ExternalName {
        object["spec"]["type"] = json!("ExternalName");
        object["spec"]["externalName"] = json!("example.com");
        object["spec"]["ports"] = json!(ports);
        return object;
    }
    let families = *random.weighted(&FAMILIES);
    let ips: Vec<String> = match kind {
        Kind::Headless => vec!["None".to_owned()],
        _ => families.iter().map(|family| cluster_ip(family, index)).collect(),
    };
    let spec = &mut object["spec"];
    spec["clusterIP"] = json!(ips[0]);
    spec["clusterIPs"] = json!(ips);
    spec["ipFamilies"] = json!(families);
    spec["internalTrafficPolicy"] = json!(if random.chance(25) { "Local" } else { "Cluster" });
    spec["ports"] = json!(ports);
    if random.chance(22) {
        let seconds = *random.pick(&[600, 10_800]);
        spec["sessionAffinity"] = json!("ClientIP");
        spec["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": seconds}});
    }
    if kind != Kind::Headless {
        expose(random, kind, &mut object, taken);
    }
    object
}

fn cluster_ip(family: &str, index: usize) -> String {
    if family == "IPv4" { format!("10.96.1.{}", index + 1) } else { format!("fd00:10:96::1:{}", index + 1) }
}

/// One unnamed port, or several names.
fn ports(random: &mut Random) -> Vec<Value> {
    let count = *random.weighted(&[(50, 1), (35, 2), (15, 3)]);
    let mut chosen = random.some(&PORTS, count);
    chosen.sort_unstable();
    let unnamed = count == 1 && random.chance(50);
    let port = |(name, protocol, number): &(&str, &str, u16)| {
        let name = if unnamed { "" } else { *name };
        let mut port = json!({"protocol": protocol, "port": number, "targetPort": number + 8000});
        if !name.is_empty() {
            port["name"] = json!(name);
        }
        port
    };
    chosen.iter().map(port).collect()
}

/// What leads to the Service beside its ClusterIPs.
fn expose(random: &mut Random, kind: Kind, object: &mut Value, taken: &mut Taken) {
    if kind == Kind::NodePort || kind == Kind::LoadBalancer {
        let node_ports = kind == Kind::NodePort || random.chance(80);
        object["spec"]["type"] = json!(if kind == Kind::NodePort { "NodePort" } else { "LoadBalancer" });
        for port in object["spec"]["ports"].as_array_mut().into_iter().flatten().filter(|_| node_ports) {
            port["nodePort"] = json!(taken.next_node_port);
            taken.next_node_port += 1;
        }
    }
    let external = random.chance(25);
    if external {
        let pool = ["203.0.113.7", "192.0.2.77", "2001:db8:2::77", ADDRESSES[0], ADDRESSES[1], "10.96.77.7"];
        let chosen = random.some(&pool, 2);
        object["spec"]["externalIPs"] = json!(free(&chosen, object, taken));
    }
    if external || kind != Kind::ClusterIp {
        let policy = if random.chance(45) { "Local" } else { "Cluster" };
        object["spec"]["externalTrafficPolicy"] = json!(policy);
        if policy == "Local" && kind == Kind::LoadBalancer {
            object["spec"]["healthCheckNodePort"] = json!(taken.next_node_port);
            taken.next_node_port += 1;
        }
    }
    if kind == Kind::LoadBalancer {
        balance(random, object, taken);
    }
}

fn balance(random: &mut Random, object: &mut Value, taken: &mut Taken) {
    let pool =
        ["192.0.2.200", "192.0.2.201", "2001:db8:2::200", "2001:db8:2::201", ADDRESSES[0], ADDRESSES[2]];
    let chosen = random.some(&pool, 2);
    let points = free(&chosen, object, taken).into_iter().map(|ip| {
        let mut point = json!({"ip": ip});
        match random.below(10) {
            0..2 => {}
            2..4 => point["ipMode"] = json!("Proxy"),
            _ => point["ipMode"] = json!("VIP"),
        }
        point
    });
    let mut points: Vec<Value> = points.collect();
    if random.chance(10) {
        points.push(json!({"hostname": "balancer.example.com"}));
    }
    object["status"]["loadBalancer"] = json!({"ingress": points});
    let mut ranges: Vec<&str> = match random.below(10) {
        0..5 => Vec::new(),
        5..9 => {
            let count = 1 + random.below(3);
            random.some(&RANGES, count)
        }
        _ => vec!["198.19.0.0/16", *random.pick(&["0.0.0.0/0", "::/0"])],
    };
    ranges.sort_unstable();
    if !ranges.is_empty() {
        object["spec"]["loadBalancerSourceRanges"] = json!(ranges);
    }
}

/// Those addresses of which no other Service claims a port of this one's.
fn free(addresses: &[&str], object: &Value, taken: &mut Taken) -> Vec<String> {
    let ports: Vec<(String, u16)> = object["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| (port["protocol"].to_string(), port["port"].as_u64().unwrap_or_default() as u16))
        .collect();
    let mut free = Vec::new();
    for address in addresses {
        let keys: Vec<_> =
            ports.iter().map(|(protocol, port)| ((*address).to_owned(), protocol.clone(), *port)).collect();
        if keys.iter().all(|key| !taken.frontends.contains(key)) {
            taken.frontends.extend(keys);
            free.push((*address).to_owned());
        }
    }
    free
}
