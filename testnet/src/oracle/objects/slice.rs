//! EndpointSlices of Services: several of a family, with missing and further ports, all conditions, duplicates, hints.

use serde_json::{Value, json};

use super::Random;
use crate::oracle::profile::{ADDRESSES, NODE, ZONE};

/// How a Service's endpoints are.
#[derive(Clone, Copy)]
enum Mood {
    Ready,
    Mixed,
    Leaving,
    Down,
}

/// Which hints they have.
#[derive(Clone, Copy)]
enum Hints {
    None,
    Zones,
    Nodes,
    Both,
    Patchy,
}

/// What one Service's slices have in common.
struct Plan {
    mood: Mood,
    hints: Hints,
    /// With affinity, one packet of each sender must be able to find all endpoints.
    few: bool,
}

pub(super) fn slices(random: &mut Random, services: &[Value]) -> Vec<Value> {
    let mut slices = Vec::new();
    for service in services {
        let plan = Plan {
            mood: *random.weighted(&[
                (45, Mood::Ready),
                (30, Mood::Mixed),
                (15, Mood::Leaving),
                (10, Mood::Down),
            ]),
            hints: *random.weighted(&[
                (60, Hints::None),
                (12, Hints::Zones),
                (10, Hints::Nodes),
                (8, Hints::Both),
                (10, Hints::Patchy),
            ]),
            few: service["spec"]["sessionAffinity"] == "ClientIP",
        };
        for family in ["IPv4", "IPv6"] {
            // Slices of a family that the Service does not have happen while it changes.
            let has = service["spec"]["ipFamilies"].to_string().contains(family);
            if has && random.chance(92) || random.chance(8) {
                slices.extend(of_family(random, service, family, &plan));
            }
        }
    }
    if random.chance(5) {
        let orphan =
            json!({"metadata": {"name": "nobody"}, "spec": {"ports": [{"protocol": "TCP", "port": 80}]}});
        let plan = Plan { mood: Mood::Ready, hints: Hints::None, few: true };
        slices.extend(of_family(random, &orphan, "IPv4", &plan));
    }
    slices
}

fn of_family(random: &mut Random, service: &Value, family: &str, plan: &Plan) -> Vec<Value> {
    let count = if plan.few { 1 } else { *random.weighted(&[(60, 1), (30, 2), (10, 3)]) };
    let mut free = addresses(family);
    let mut slices: Vec<Value> =
        (0..count).map(|index| slice(random, service, family, index, plan, &mut free)).collect();
    if count > 1 && random.chance(50) {
        duplicate(random, &mut slices);
    }
    slices
}

/// Addresses with their nodes, most of them pods'.
fn addresses(family: &str) -> Vec<(String, Option<&'static str>)> {
    let ipv4 = family == "IPv4";
    let pods = |node: usize, name| {
        let address = move |host| match ipv4 {
            true => format!("10.244.{node}.{host}"),
            false => format!("fd00:10:244:{node}::{host:x}"),
        };
        (10..16).map(move |host| (address(host), name))
    };
    let host = if ipv4 { (ADDRESSES[0], "172.18.0.3") } else { (ADDRESSES[1], "fd00:172:18::3") };
    let outside = if ipv4 { "192.0.2.50" } else { "2001:db8:2::50" };
    pods(1, Some(NODE))
        .chain(pods(2, Some("worker-2")))
        .chain(pods(3, None).take(2))
        .chain([
            (host.0.to_owned(), Some(NODE)),
            (host.1.to_owned(), Some("worker-2")),
            (outside.to_owned(), None),
        ])
        .collect()
}

fn slice(
    random: &mut Random,
    service: &Value,
    family: &str,
    index: usize,
    plan: &Plan,
    free: &mut Vec<(String, Option<&'static str>)>,
) -> Value {
    let name = service["metadata"]["name"].as_str().unwrap_or_default();
    let mut labels = json!({"kubernetes.io/service-name": name});
    if service["spec"]["clusterIP"] == "None" {
        labels["service.kubernetes.io/headless"] = json!("");
    }
    let count = random.below(5);
    let endpoints: Vec<Value> = (0..count)
        .map(|_| {
            let place = random.below(free.len());
            let (address, node) = free.swap_remove(place);
            endpoint(random, &address, node, plan)
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-{}-{index}", family.to_lowercase()), "namespace": "default", "labels": labels,
        },
        "addressType": family,
        "ports": ports(random, service, index),
        "endpoints": endpoints,
    })
}

/// The Service's ports, now and then without one, with another number, or with another one's name.
fn ports(random: &mut Random, service: &Value, index: usize) -> Vec<Value> {
    let mut ports = Vec::new();
    for port in service["spec"]["ports"].as_array().into_iter().flatten() {
        let target = port["targetPort"].as_u64().unwrap_or(8080)
            + if random.chance(10) { 100 + index as u64 } else { 0 };
        let name = port["name"].as_str().unwrap_or_default();
        match random.below(20) {
            0 => {}
            1 => ports.push(json!({"name": name, "protocol": "SCTP", "port": target})),
            2 => ports.push(json!({"name": "stray", "protocol": port["protocol"], "port": target})),
            _ => ports.push(json!({"name": name, "protocol": port["protocol"], "port": target})),
        }
    }
    ports
}

fn endpoint(random: &mut Random, address: &str, node: Option<&str>, plan: &Plan) -> Value {
    let mut endpoint = json!({"addresses": [address], "conditions": conditions(random, plan.mood)});
    if random.chance(3) {
        let more = if address.contains(':') { "fd00:10:244:2::99" } else { "10.244.2.99" };
        endpoint["addresses"] = json!([address, more]);
    }
    if let Some(node) = node.filter(|_| random.chance(95)) {
        endpoint["nodeName"] = json!(node);
    }
    let zone = if node == Some(NODE) { ZONE } else { "zone-b" };
    endpoint["zone"] = json!(zone);
    let hints = match plan.hints {
        Hints::Patchy => *random.pick(&[Hints::None, Hints::Zones, Hints::Nodes, Hints::Both]),
        hints => hints,
    };
    let zones = json!([{"name": *random.pick(&[zone, ZONE, "zone-b", "zone-c"])}]);
    let nodes = json!([{"name": *random.pick(&[NODE, "worker-2", "worker-3"])}]);
    match hints {
        Hints::Zones => endpoint["hints"] = json!({"forZones": zones}),
        Hints::Nodes => endpoint["hints"] = json!({"forNodes": nodes}),
        Hints::Both => endpoint["hints"] = json!({"forZones": zones, "forNodes": nodes}),
        _ => {}
    }
    endpoint
}

fn conditions(random: &mut Random, mood: Mood) -> Value {
    let ready = json!({"ready": true, "serving": true, "terminating": false});
    let unready = json!({"ready": false, "serving": false, "terminating": false});
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    let gone = json!({"ready": false, "serving": false, "terminating": true});
    // What controllers leave out, or what publishNotReadyAddresses makes of it.
    let bare = json!({});
    let quiet = json!({"ready": false, "terminating": true});
    let published = json!({"ready": true, "serving": false, "terminating": true});
    match mood {
        Mood::Ready if random.chance(90) => ready,
        Mood::Ready => bare,
        Mood::Mixed => random.pick(&[ready, bare, unready, leaving, gone, published]).clone(),
        Mood::Leaving => random.pick(&[leaving.clone(), leaving, gone, unready, quiet]).clone(),
        Mood::Down => random.pick(&[unready, gone]).clone(),
    }
}

/// A pod in two slices, or an address that a pod took over from another that is still terminating.
fn duplicate(random: &mut Random, slices: &mut [Value]) {
    let from = random.below(slices.len());
    let Some(endpoints) = slices[from]["endpoints"].as_array().filter(|list| !list.is_empty()) else {
        return;
    };
    let mut copy = random.pick(endpoints).clone();
    if copy["conditions"]["terminating"] == true {
        return;
    }
    copy["addresses"] = json!([copy["addresses"][0]]);
    copy["conditions"] = json!({"ready": false, "serving": random.chance(70), "terminating": true});
    if random.chance(30) {
        copy["nodeName"] = json!(*random.pick(&[NODE, "worker-2"]));
    }
    let to = (from + 1) % slices.len();
    if let Some(list) = slices[to]["endpoints"].as_array_mut() {
        list.push(copy);
    }
}
