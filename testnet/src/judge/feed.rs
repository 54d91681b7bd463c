//! Plays a scenario's events into the service model, as the agent's watches would.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use dataplane::forwarding_table::{self as table, Pods};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeSpec, NodeStatus};
use services::{Model, Snapshot};

use crate::scenario::{DetectLocal, Event, Facts, Kind, NodeFacts, Object};

/// A model with the scenario's facts in it.
#[derive(Debug)]
pub struct Feed {
    /// The model.
    pub model: Model,
    facts: Arc<Facts>,
    /// Networks of the ServiceCIDR objects, by name.
    service_cidrs: BTreeMap<Arc<str>, Vec<IpNet>>,
    /// Reasons of the objects skipped so far, since the last [`Feed::take_skipped`].
    skipped: Vec<String>,
}

impl Feed {
    /// A model that knows the nodes and namespaces.
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        let mut model = Model::new();
        for node in &facts.nodes {
            model.apply_node(&node_object(node));
        }
        for namespace in &facts.namespaces {
            model.apply_namespace(namespace);
        }
        let (facts, service_cidrs) = (Arc::new(facts.clone()), BTreeMap::new());
        Self { model, facts, service_cidrs, skipped: Vec::new() }
    }

    /// One event.
    pub fn play(&mut self, event: &Event) {
        match event {
            Event::Apply(_, Object::Service(service)) => self.note(|model| model.apply_service(service)),
            Event::Apply(_, Object::EndpointSlice(slice)) => self.note(|model| model.apply_slice(slice)),
            Event::Apply(_, Object::Node(node)) => self.model.apply_node(node),
            Event::Apply(key, Object::Namespace) => self.model.apply_namespace(key.name.name()),
            Event::Apply(key, Object::ServiceCidr(object)) => {
                let cidrs = object.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
                let cidrs = cidrs.filter_map(|cidr| cidr.parse().ok()).collect();
                self.service_cidrs.insert(Arc::from(key.name.name()), cidrs);
            }
            Event::Delete(key) => match key.kind {
                Kind::Service => self.model.delete_service(&key.name),
                Kind::EndpointSlice => self.model.delete_slice(&key.name),
                Kind::Node => self.model.delete_node(key.name.name()),
                Kind::Namespace => self.model.delete_namespace(key.name.name()),
                Kind::ServiceCidr => drop(self.service_cidrs.remove(key.name.name())),
            },
        }
    }

    /// All that is known now.
    #[must_use]
    pub fn known(&self) -> Known {
        let further = self.service_cidrs.values().flatten();
        let service_cidrs = self.facts.service_cidrs.iter().chain(further).copied().collect();
        Known { snapshot: self.model.snapshot(), facts: Arc::clone(&self.facts), service_cidrs }
    }

    /// Why objects were skipped, one a line.
    pub fn take_skipped(&mut self) -> String {
        let mut text = std::mem::take(&mut self.skipped).join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }

    fn note(&mut self, apply: impl FnOnce(&mut Model) -> Result<(), services::Skipped>) {
        if let Err(skipped) = apply(&mut self.model) {
            self.skipped.push(skipped.to_string());
        }
    }
}

/// What the watches have told so far, with the scenario's facts: all that forwarding on a node depends on.
#[derive(Clone, Debug)]
pub struct Known {
    /// The model's state.
    pub snapshot: Snapshot,
    facts: Arc<Facts>,
    service_cidrs: Vec<IpNet>,
}

impl Known {
    /// A node as its data plane knows it: the Node object decides, and the scenario's facts where it says nothing.
    #[must_use]
    pub fn node_facts(&self, node: &NodeFacts) -> table::NodeFacts {
        let object = self.snapshot.nodes.get(node.name.as_str());
        let addresses = object.map(|object| &object.addresses).filter(|addresses| !addresses.is_empty());
        let addresses = addresses.unwrap_or(&node.addresses);
        let pod_cidrs = object.map(|object| &object.pod_cidrs).filter(|cidrs| !cidrs.is_empty());
        let pods = match &self.facts.detect_local {
            DetectLocal::Unknown => Pods::Unknown,
            DetectLocal::ClusterCidr => Pods::Cidrs(self.facts.cluster_cidrs.iter().copied().collect()),
            DetectLocal::NodeCidr => {
                Pods::Cidrs(pod_cidrs.unwrap_or(&node.pod_cidrs).iter().copied().collect())
            }
            DetectLocal::BridgeInterface(name) => Pods::Bridge(name.as_str().into()),
            DetectLocal::InterfaceNamePrefix(prefix) => Pods::InterfacePrefix(prefix.as_str().into()),
        };
        let zone = object.and_then(|object| object.zone.clone());
        let mut known = table::NodeFacts::new(node.name.as_str(), self.service_cidrs.iter().copied())
            .in_zone(zone)
            .with_addresses(addresses)
            .recognising(pods);
        known.masquerade_all = self.facts.masquerade_all;
        if !self.facts.node_port_addresses.is_empty() {
            let wanted =
                |address: &&IpAddr| self.facts.node_port_addresses.iter().any(|net| net.contains(*address));
            known.node_port_addresses = addresses.iter().filter(wanted).copied().collect();
        }
        match &self.facts.dns {
            Some((address, nodes)) if nodes.contains(&node.name) => known.answering_dns(IpAddr::V4(*address)),
            _ => known,
        }
    }

    /// The facts of the node with this name, if the scenario has it.
    #[must_use]
    pub fn facts_of(&self, name: &str) -> Option<table::NodeFacts> {
        self.facts.node(name).map(|node| self.node_facts(node))
    }
}

/// The Node object of a scenario's node.
pub(crate) fn node_object(facts: &NodeFacts) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(facts.name.clone());
    let zone = facts.zone.iter().map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.clone()));
    node.metadata.labels = Some(zone.collect());
    let pod_cidrs: Vec<String> = facts.pod_cidrs.iter().map(ToString::to_string).collect();
    node.spec = Some(NodeSpec {
        pod_cidr: pod_cidrs.first().cloned(),
        pod_cidrs: Some(pod_cidrs),
        ..NodeSpec::default()
    });
    let internal =
        |address: &IpAddr| NodeAddress { address: address.to_string(), type_: "InternalIP".to_owned() };
    let addresses = facts.addresses.iter().map(internal).collect();
    node.status = Some(NodeStatus { addresses: Some(addresses), ..NodeStatus::default() });
    node
}
