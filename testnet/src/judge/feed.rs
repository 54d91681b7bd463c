//! Plays a scenario's events into the service model, as the agent's watches would.

use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeSpec, NodeStatus};
use services::Model;

use crate::scenario::{Event, Facts, Kind, NodeFacts, Object};

/// A model with the scenario's facts in it.
#[derive(Debug)]
pub struct Feed {
    /// The model.
    pub model: Model,
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
        Self { model, skipped: Vec::new() }
    }

    /// One event.
    pub fn play(&mut self, event: &Event) {
        match event {
            Event::Apply(_, Object::Service(service)) => self.note(|model| model.apply_service(service)),
            Event::Apply(_, Object::EndpointSlice(slice)) => self.note(|model| model.apply_slice(slice)),
            Event::Apply(_, Object::Node(node)) => self.model.apply_node(node),
            Event::Apply(key, Object::Namespace) => self.model.apply_namespace(&key.name.name),
            Event::Delete(key) => match key.kind {
                Kind::Service => self.model.delete_service(&key.name),
                Kind::EndpointSlice => self.model.delete_slice(&key.name),
                Kind::Node => self.model.delete_node(&key.name.name),
                Kind::Namespace => self.model.delete_namespace(&key.name.name),
            },
        }
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

fn node_object(facts: &NodeFacts) -> Node {
    let mut node = Node::default();
    node.metadata.name = Some(facts.name.clone());
    let zone = facts.zone.iter().map(|zone| ("topology.kubernetes.io/zone".to_owned(), zone.clone()));
    node.metadata.labels = Some(zone.collect());
    let pod_cidr = facts.pod_cidr.to_string();
    node.spec = Some(NodeSpec {
        pod_cidr: Some(pod_cidr.clone()),
        pod_cidrs: Some(vec![pod_cidr]),
        ..NodeSpec::default()
    });
    let address = NodeAddress { address: facts.address.to_string(), type_: "InternalIP".to_owned() };
    node.status = Some(NodeStatus { addresses: Some(vec![address]), ..NodeStatus::default() });
    node
}
