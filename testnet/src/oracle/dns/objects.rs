//! Sets of namespaces, Services, slices and pods from a seed, as an API server would hold them.
//!
//! Left out is what CoreDNS itself leaves to chance, two Services that claim one ClusterIP, and what no controller writes: IPv6
//! addresses in another than their shortest form, which CoreDNS takes as text.

use serde_json::{Value, json};

use super::super::objects::digest;
use super::super::random::Random;

/// One set.
#[derive(Clone, Debug)]
pub struct ObjectSet {
    /// What it was made from.
    pub seed: u64,
    /// The objects.
    pub objects: Vec<Value>,
}

const NAMESPACES: [&str; 4] = ["default", "apps", "kube-system", "late"];
const SERVICES: [&str; 6] = ["web", "db", "api", "mail", "svc", "x-1"];
const PORTS: [(&str, &str, u16); 6] = [
    ("http", "TCP", 80),
    ("https", "TCP", 443),
    ("dns", "UDP", 53),
    ("dns-tcp", "TCP", 53),
    ("m3ua", "SCTP", 2905),
    ("", "TCP", 8080),
];
const TARGETS: [&str; 12] = [
    "www.example.com",
    "alias.example.com.",
    "nowhere.example.com",
    "broken.example.com",
    "refused.example.com",
    "web.default.svc.cluster.local",
    "db.apps.svc.cluster.local",
    "nothing.default.svc.cluster.local",
    "Mail.Default.svc.Cluster.local",
    "default.svc.cluster.local",
    "10.1.2.3",
    "10-1-2-3.default.pod.cluster.local",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    ClusterIp,
    Headless,
    ExternalName,
}

impl ObjectSet {
    /// The set of a seed.
    #[must_use]
    pub fn generate(seed: u64) -> Self {
        let mut random = Random::new(seed.wrapping_mul(0x0123_4567_89AB_CDEF));
        let mut objects = Vec::new();
        for namespace in NAMESPACES {
            // Services of a namespace that is not known yet, or no more, happen at start and at the end.
            if namespace != "late" || random.chance(30) {
                objects
                    .push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
            }
            let count = if namespace == "default" { 5 } else { random.below(4) };
            for name in random.some(&SERVICES, count) {
                let place = objects.len() + 1;
                service(&mut random, namespace, name, place, &mut objects);
            }
            pods(&mut random, namespace, &mut objects);
        }
        Self { seed, objects }
    }

    /// Of the objects' text: equal only if the same generator made them.
    #[must_use]
    pub fn digest(&self) -> u64 {
        digest(&self.objects.iter().map(Value::to_string).collect::<String>())
    }
}

fn service(random: &mut Random, namespace: &str, name: &str, place: usize, objects: &mut Vec<Value>) {
    let kind = *random.weighted(&[(40, Kind::ClusterIp), (40, Kind::Headless), (20, Kind::ExternalName)]);
    let families = *random.weighted(&[(5, &["IPv4"][..]), (2, &["IPv6"]), (3, &["IPv4", "IPv6"])]);
    let count = random.below(4);
    let ports = random.some(&PORTS, count);
    let listed: Vec<Value> =
        ports.iter().map(|(name, protocol, port)| port_of(name, protocol, *port)).collect();
    let metadata = json!({"name": name, "namespace": namespace});
    let mut spec = json!({"type": "ClusterIP", "ports": listed});
    match kind {
        Kind::ExternalName => {
            spec["type"] = json!("ExternalName");
            spec["externalName"] = json!(*random.pick(&TARGETS));
        }
        Kind::Headless => {
            (spec["clusterIP"], spec["clusterIPs"]) = (json!("None"), json!(["None"]));
            spec["ipFamilies"] = json!(families);
        }
        Kind::ClusterIp => {
            let address = |family: &&str| match *family {
                "IPv4" => format!("10.96.{}.{}", place / 200, place % 200 + 1),
                _ => format!("fd00:10:96::{place:x}"),
            };
            let addresses: Vec<String> = families.iter().map(address).collect();
            (spec["clusterIP"], spec["clusterIPs"]) = (json!(addresses[0]), json!(addresses));
            spec["ipFamilies"] = json!(families);
        }
    }
    objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}));
    if kind == Kind::ExternalName && random.chance(80) || random.chance(10) {
        return;
    }
    for family in families {
        let slices = *random.weighted(&[(60, 1), (30, 2), (10, 3)]);
        for index in 0..slices {
            objects.push(slice(random, (namespace, name), family, index, &ports));
        }
    }
}

fn port_of(name: &str, protocol: &str, port: u16) -> Value {
    let mut value = json!({"protocol": protocol, "port": port});
    if !name.is_empty() {
        value["name"] = json!(name);
    }
    value
}

fn slice(
    random: &mut Random,
    (namespace, service): (&str, &str),
    family: &str,
    index: usize,
    ports: &[(&str, &str, u16)],
) -> Value {
    let listed = ports.iter().filter(|_| random.chance(90)).cloned().collect::<Vec<_>>();
    let shift = u16::try_from(index).unwrap_or_default();
    let listed: Vec<Value> =
        listed.iter().map(|(name, protocol, port)| port_of(name, protocol, port + 8000 + shift)).collect();
    // Now and then so many that the answer does not fit into a datagram.
    let count = if random.chance(6) { 40 } else { random.below(5) };
    let endpoints: Vec<Value> = (0..count).map(|_| endpoint(random, namespace, family, count > 5)).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": family, "ports": listed,
        "endpoints": endpoints,
        "metadata": {
            "name": format!("{service}-{}-{index}", family.to_lowercase()), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
    })
}

fn endpoint(random: &mut Random, namespace: &str, family: &str, many: bool) -> Value {
    let host = random.below(if many { 200 } else { 12 });
    let node = random.below(3) + 1;
    let address = match (family, random.below(8)) {
        ("IPv4", _) => format!("10.244.{node}.{host}"),
        (_, 0) => format!("2001:db8:{:x}::", host + 1),
        _ => format!("fd00:10:244:{node}::{:x}", host + 1),
    };
    let mut endpoint = json!({"addresses": [address]});
    let conditions = [
        json!({"ready": true, "serving": true, "terminating": false}),
        json!({"ready": true, "serving": false, "terminating": true}),
        json!({}),
        json!({"ready": false, "serving": false, "terminating": false}),
        json!({"ready": false, "serving": true, "terminating": true}),
    ];
    let chosen: usize = *random.weighted(&[(6, 0), (1, 1), (1, 2), (1, 3), (1, 4)]);
    endpoint["conditions"] = conditions[chosen].clone();
    match random.below(10) {
        0..3 => endpoint["hostname"] = json!(format!("pet-{}", host % 4)),
        3 => endpoint["hostname"] = json!("web"),
        _ => {}
    }
    if random.chance(70) {
        let name = if random.chance(10) { "p".repeat(70) } else { format!("pod-{host}") };
        endpoint["targetRef"] = json!({"kind": "Pod", "name": name, "namespace": namespace});
    }
    endpoint
}

fn pods(random: &mut Random, namespace: &str, objects: &mut Vec<Value>) {
    for index in 0..random.below(4) {
        let address = match random.below(4) {
            0 => format!("fd00:10:244:1::{:x}", index + 1),
            _ => format!("10.244.1.{}", index + 1),
        };
        objects.push(json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("pod-{index}"), "namespace": namespace},
            "spec": {"containers": [{"name": "main", "image": "main"}]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_always() {
        assert_eq!(ObjectSet::generate(7).digest(), ObjectSet::generate(7).digest());
        assert_ne!(ObjectSet::generate(7).digest(), ObjectSet::generate(8).digest());
    }
}
