//! Scenarios before a real kube-proxy: on each of their nodes the steps are played to it, and the packets that enter by
//! that node are sent. What it did is recorded with a digest of all that it knew; the file's own line must say the same.
//!
//! Only first packets of flows are sent: neither late ones, nor fragments, nor flows that go on, nor questions to the DNS
//! address, which a kube-proxy forwards and Sluice answers.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::{io, thread};

use serde_json::{Value, json};

use super::answer::{Answer, Fate, Seen};
use super::kube_proxy::{self, KubeProxy};
use super::node::{self, Node, Way};
use super::question::Destination;
use super::site::Site;
use crate::judge::Feed;
use crate::scenario::{
    DetectLocal, Event, Facts, Key, Kind, NodeFacts, Object, Outcome, Packet, PacketCase, Probe, Scenario,
    Source, Step,
};

mod recording;

pub use recording::{At, ScenarioRecording};

/// A scenario that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node.
    #[error("no node to play on")]
    Node(#[from] node::Error),
    /// kube-proxy.
    #[error("no kube-proxy to play to")]
    KubeProxy(#[from] kube_proxy::Error),
    /// A packet.
    #[error("cannot send {packet}")]
    Send {
        /// Which.
        packet: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// What a node's kube-proxy knew in one step, as an API would hold it.
struct Known {
    objects: Vec<Value>,
    digest: u64,
}

/// Plays the steps to a kube-proxy on one node and records what it does with the packets.
///
/// # Errors
/// The node, kube-proxy, or a packet that cannot be sent.
pub fn play(
    program: &Path,
    scenario: &Scenario,
    facts: &NodeFacts,
    recording: &mut ScenarioRecording,
) -> Result<(), Error> {
    let site = site(&scenario.facts, facts);
    let mut node = Node::start(&site)?;
    let mut proxy = KubeProxy::start(program, &node)?;
    for (index, (step, known)) in scenario.steps.iter().zip(known(scenario, &site)).enumerate() {
        thread::sleep(step.pause);
        if step.restart {
            drop(proxy);
            proxy = KubeProxy::start(program, &node)?;
        }
        proxy.load_objects(&mut node, known.objects)?;
        let at = At::new(scenario, facts, index);
        for case in cases(step, &scenario.facts, facts) {
            let answer = ask(&mut node, &case.packet, &scenario.facts);
            let failed = |source| Error::Send { packet: case.packet.to_string(), source };
            recording.add(&at, known.digest, &case.packet.to_string(), answer.map_err(failed)?);
        }
    }
    Ok(())
}

/// Compares the packet lines of a node with what was recorded; counts those that were not, or of other objects.
#[must_use]
pub fn compare(
    scenario: &Scenario,
    facts: &NodeFacts,
    recording: &ScenarioRecording,
) -> (Vec<String>, BTreeMap<&'static str, u32>) {
    let site = site(&scenario.facts, facts);
    let (mut differences, mut counts) = (Vec::new(), BTreeMap::new());
    for (index, (step, known)) in scenario.steps.iter().zip(known(scenario, &site)).enumerate() {
        let at = At::new(scenario, facts, index);
        for case in cases(step, &scenario.facts, facts) {
            let count = match recording.get(&at, known.digest, &case.packet.to_string()) {
                None => "not recorded",
                Some(answer) if conforms(case, &site, answer) => "the same",
                Some(answer) => match DELIBERATE.iter().find(|(name, _)| at.is_of(name)) {
                    Some((_, reason)) => reason,
                    None => {
                        differences.push(format!(
                            "{}:{}: {case}\n    kube-proxy  {answer}",
                            scenario.file, case.line
                        ));
                        "different"
                    }
                },
            };
            *counts.entry(count).or_default() += 1;
        }
    }
    (differences, counts)
}

/// Scenarios in which kube-proxy may do something else, and why.
const DELIBERATE: [(&str, &str); 3] = [
    (
        "slice-changes-service",
        "kube-proxy keeps the endpoints of a slice that was given to another Service where they were",
    ),
    (
        "one-address-two-services",
        "of two Services with one address kube-proxy serves the one that it meets last, Sluice the first by name",
    ),
    (
        "service-cidrs",
        "kube-proxy takes over a changed ServiceCIDR at its next full sync, which may be an hour later",
    ),
];

/// True when the line says what was answered.
fn conforms(case: &PacketCase, site: &Site, answer: &Answer) -> bool {
    let way = way(site, &case.packet);
    let fates = case.outcome.targets().iter().map(|target| {
        // What the node itself sends has its address anyway, and what it delivers to itself keeps its source.
        let visible = way != Way::Own && !site.is_own(target.address.ip());
        Fate::Forward(target.address, if target.masquerade && visible { Seen::Node } else { Seen::Sender })
    });
    let expected = match case.outcome {
        Outcome::Reject => Fate::Reject.into(),
        Outcome::Drop => Fate::Drop.into(),
        Outcome::Local | Outcome::Pass => Fate::Pass.into(),
        _ => Answer { fates: fates.collect(), sticky: false },
    };
    match case.outcome {
        // One client only ever meets one of them.
        Outcome::Sticky(_) | Outcome::Kept(_) => {
            answer.fates.len() == 1 && answer.fates.is_subset(&expected.fates)
        }
        _ => *answer == expected,
    }
}

/// The packets of a step that can be asked on a node.
fn cases<'a>(step: &'a Step, facts: &'a Facts, node: &'a NodeFacts) -> impl Iterator<Item = &'a PacketCase> {
    step.packets.iter().filter(|case| {
        let first = case.packet.probe.is_first() && case.packet.probe != Probe::Fragments;
        let here = translator(&case.packet, facts).is_some_and(|entry| entry.name == node.name);
        first && here && case.packet.port.is_none() && case.outcome != Outcome::Local
    })
}

/// The node whose rules decide: that of a node's address which is the destination, or else the one where the packet enters.
fn translator<'a>(packet: &Packet, facts: &'a Facts) -> Option<&'a NodeFacts> {
    let own = facts.nodes.iter().find(|node| node.addresses.contains(&packet.destination.ip()));
    own.or_else(|| packet.source.node(facts))
}

fn way(site: &Site, packet: &Packet) -> Way {
    match &packet.source {
        Source::Pod(address) if site.has_pod(*address) => Way::Pods,
        Source::Node(name) if name == site.name() => Way::Own,
        _ => Way::Wire,
    }
}

fn ask(node: &mut Node, packet: &Packet, facts: &Facts) -> io::Result<Answer> {
    let to = packet.destination.ip();
    let source = match &packet.source {
        Source::Pod(address) | Source::Outside { address, .. } => *address,
        // To an address of its own the node speaks from that very address.
        Source::Node(name) if name == node.site().name() && node.site().is_own(to) => to,
        Source::Node(name) => facts.node(name).and_then(|node| node.address_to(to)).unwrap_or(to),
    };
    let destination = Destination { address: packet.destination, protocol: packet.probe.protocol() };
    node.ask_from(way(node.site(), packet), &[source], destination)
}

/// A scenario's node.
fn site(facts: &Facts, own: &NodeFacts) -> Site {
    let wire = |address: &IpAddr| ipnet::IpNet::new(*address, if address.is_ipv4() { 24 } else { 64 }).ok();
    let (mode, device, detect) = match &facts.detect_local {
        DetectLocal::Unknown => ("", "pods0".to_owned(), json!({})),
        DetectLocal::ClusterCidr => ("ClusterCIDR", "pods0".to_owned(), json!({})),
        DetectLocal::NodeCidr => ("NodeCIDR", "pods0".to_owned(), json!({})),
        // As in the scenarios' own clusters, no pod is behind that bridge.
        DetectLocal::BridgeInterface(name) => {
            ("BridgeInterface", "pods0".to_owned(), json!({"bridgeInterface": name}))
        }
        DetectLocal::InterfaceNamePrefix(prefix) => {
            ("InterfaceNamePrefix", format!("{prefix}0"), json!({"interfaceNamePrefix": prefix}))
        }
    };
    let texts = |networks: &[ipnet::IpNet]| networks.iter().map(ToString::to_string).collect::<Vec<_>>();
    let node_ports = texts(&facts.node_port_addresses);
    let cluster = if mode == "ClusterCIDR" { texts(&facts.cluster_cidrs).join(",") } else { String::new() };
    Site {
        node: json!(crate::judge::node_object(own)),
        addresses: own.addresses.iter().filter_map(wire).collect(),
        pods: own.pod_cidrs.clone(),
        pods_device: device,
        service_cidrs: facts.service_cidrs.clone(),
        proxy: json!({
            "clusterCIDR": cluster, "detectLocalMode": mode, "detectLocal": detect,
            "nodePortAddresses": if node_ports.is_empty() { vec!["primary".to_owned()] } else { node_ports },
            "nftables": {"masqueradeAll": facts.masquerade_all},
        }),
    }
}

/// What an API would hold after each step. Objects that it would refuse are left out; when the node's own addresses change, a
/// kube-proxy ends, and so does the list.
fn known(scenario: &Scenario, site: &Site) -> Vec<Known> {
    let mut feed = Feed::new(&scenario.facts);
    let mut objects: BTreeMap<Key, Value> = BTreeMap::new();
    let mut steps = Vec::new();
    for step in &scenario.steps {
        if step.events.iter().any(|event| ends(site, event)) {
            break;
        }
        for event in &step.events {
            feed.play(event);
            let refused = !feed.take_skipped().is_empty();
            match event {
                Event::Apply(key, object) if !refused => drop(objects.insert(key.clone(), as_held(object))),
                _ => drop(objects.remove(event.key())),
            }
        }
        let mut all = site.objects();
        for object in objects.values().filter(|object| !object.is_null()) {
            let identity = |object: &Value| (object["kind"].clone(), object["metadata"]["name"].clone());
            all.retain(|held| identity(held) != identity(object) || held["kind"] != "Node");
            all.push(object.clone());
        }
        let text: String = all.iter().chain([&site.proxy]).map(Value::to_string).collect();
        steps.push(Known { objects: all, digest: super::objects::digest(&text) });
    }
    steps
}

/// True for an event at which a kube-proxy ends: its node goes, or has other addresses.
fn ends(site: &Site, event: &Event) -> bool {
    match event {
        Event::Apply(_, Object::Node(node)) if node.metadata.name.as_deref() == Some(site.name()) => {
            json!(node)["status"]["addresses"] != site.node["status"]["addresses"]
        }
        Event::Delete(key) => key.kind == Kind::Node && *key.name.name() == *site.name(),
        Event::Apply(..) => false,
    }
}

/// An object with the defaults that an API server fills in; null for what no kube-proxy reads.
fn as_held(object: &Object) -> Value {
    let (group, kind, mut value) = match object {
        Object::Service(service) => ("", "Service", json!(service)),
        Object::EndpointSlice(slice) => ("discovery.k8s.io", "EndpointSlice", json!(slice)),
        Object::Node(node) => ("", "Node", json!(node)),
        Object::ServiceCidr(cidr) => ("networking.k8s.io", "ServiceCIDR", json!(cidr)),
        Object::Namespace => return Value::Null,
    };
    objects::defaults::apply(group, kind, &mut value);
    let spec = &mut value["spec"];
    if kind == "Service" && spec["type"] != "ExternalName" {
        if spec["clusterIPs"].is_null() {
            spec["clusterIPs"] = json!([spec["clusterIP"]]);
        }
        spec["clusterIP"] = spec["clusterIPs"][0].clone();
        let family = |ip: &Value| if ip.to_string().contains(':') { "IPv6" } else { "IPv4" };
        let families: Vec<&str> = spec["clusterIPs"].as_array().into_iter().flatten().map(family).collect();
        spec["ipFamilies"] = json!(families);
    }
    value
}
