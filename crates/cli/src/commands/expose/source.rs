//! What `expose` takes from the object that it exposes: name, labels, selector, ports.

use serde_json::Value;

use crate::commands::{api::resource::Resource, failure::Failure, print::key_order};

/// The object to expose, as far as a service needs it.
#[derive(Debug)]
pub(super) struct Source {
    kind: &'static str,
    pub(super) name: String,
    pub(super) labels: Value,
    selector: Value,
    /// Container (or service) ports with their protocol.
    pub(super) ports: Vec<(u16, Option<String>)>,
}

impl Source {
    /// Reads the object; kinds that select no pods are refused.
    pub(super) fn of(resource: &Resource, object: &Value) -> Result<Self, Failure> {
        let spec = &object["spec"];
        let (kind, selector, ports) = match resource.kind.as_str() {
            "Deployment" => {
                ("deployment", match_labels(&spec["selector"])?, container_ports(&spec["template"]["spec"]))
            }
            "ReplicaSet" => {
                ("replica set", match_labels(&spec["selector"])?, container_ports(&spec["template"]["spec"]))
            }
            "ReplicationController" => (
                "replication controller",
                spec["selector"].clone(),
                container_ports(&spec["template"]["spec"]),
            ),
            "Service" => ("service", spec["selector"].clone(), service_ports(spec)),
            "Pod" => ("pod", object["metadata"]["labels"].clone(), container_ports(spec)),
            other => {
                return Err(Failure::usage(format!(
                    "cannot expose a {other}.{}: use a pod, service, deployment or replica set",
                    resource.group
                )));
            }
        };
        Ok(Self {
            kind,
            name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
            labels: key_order::sorted(&object["metadata"]["labels"]),
            selector: key_order::sorted(&selector),
            ports,
        })
    }

    /// The pods that a service in front of it selects.
    pub(super) fn selector(&self) -> Result<Value, Failure> {
        match self.selector.as_object() {
            Some(selector) if !selector.is_empty() => Ok(self.selector.clone()),
            _ if self.kind == "pod" => Err(Failure::usage(
                "couldn't retrieve selectors via --selector flag or introspection: the pod has no labels and cannot be exposed",
            )),
            _ => Err(Failure::usage(format!(
                "couldn't retrieve selectors via --selector flag or introspection: the {} has no selector set",
                self.kind
            ))),
        }
    }
}

fn match_labels(selector: &Value) -> Result<Value, Failure> {
    match selector["matchExpressions"].as_array() {
        Some(expressions) if !expressions.is_empty() => Err(Failure::usage(
            "couldn't retrieve selectors via --selector flag or introspection: couldn't convert expressions - \"matchExpressions\" to map-based selector format",
        )),
        _ => Ok(selector["matchLabels"].clone()),
    }
}

fn container_ports(pod_spec: &Value) -> Vec<(u16, Option<String>)> {
    let containers = pod_spec["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.filter_map(|port| numbered(&port["containerPort"], port)).collect()
}

fn service_ports(spec: &Value) -> Vec<(u16, Option<String>)> {
    let ports = spec["ports"].as_array().into_iter().flatten();
    ports.filter_map(|port| numbered(&port["port"], port)).collect()
}

fn numbered(number: &Value, port: &Value) -> Option<(u16, Option<String>)> {
    let number = u16::try_from(number.as_u64()?).ok()?;
    Some((number, port["protocol"].as_str().map(str::to_owned)))
}
