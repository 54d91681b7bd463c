//! Node lifecycle: a node that no longer shows itself becomes Unknown, and its pods not ready, so that
//! traffic leaves them.
//!
//! A node shows itself by its Lease and by the heartbeat in its condition Ready. The taints that say the same
//! as a condition (`TAINTS`) are kept for those who look at them, which our scheduler does not: it reads the
//! conditions. Pods are marked when their node stops being Ready for whatever reason, once: a pod that
//! becomes ready after that says so itself and is left alone. Pods are not evicted.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::action::{Action, Note, Plan, Severity};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Object, Target, reference};
use super::pod;

mod life;

pub(crate) use life::NodeLife;

const LEASE_NAMESPACE: &str = "kube-node-lease";
/// Taints, all `NoSchedule`, that follow from a node's state; the API's admission gives every new node the
/// first.
pub(super) const TAINTS: [&str; 3] =
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"];
const WATCHED_CONDITIONS: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// The controller.
pub(super) struct NodeLifecycle {
    /// A node that has not shown itself for so long is Unknown.
    pub(super) grace: Duration,
}

impl Controller for NodeLifecycle {
    fn component(&self) -> &'static str {
        "node-controller"
    }

    fn wakes(&self, _: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        match &change.new {
            Some(Object::Node(node)) => {
                wake.push(node_target(node.metadata.name.as_deref().unwrap_or_default()))
            }
            Some(Object::Lease(lease)) if lease.metadata.namespace.as_deref() == Some(LEASE_NAMESPACE) => {
                wake.push(node_target(lease.metadata.name.as_deref().unwrap_or_default()));
            }
            _ => {}
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, now: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(node) = cluster.get::<Node>(&target.key) else { return plan };
        let silent = cluster.node_life.silence(&target.key.name, now);
        let now = now.wall;
        if silent < self.grace {
            plan.again_in(self.grace - silent);
        } else if ready(node).is_none_or(|ready| ready.status != "Unknown") {
            plan.actions.extend(lose(node, now));
        }
        plan.actions.extend(taint(node, now));
        if let Some(since) = ready(node).filter(|ready| ready.status != "True") {
            let since = since.last_transition_time.as_ref().map_or(now, |time| time.0);
            let pods = cluster.pods_on(&target.key.name);
            plan.actions.extend(pods.filter_map(|pod| mark_not_ready(pod, since, now)));
        }
        plan
    }
}

fn node_target(name: &str) -> Target {
    Target { kind: Kind::Node, key: Key::new("", name) }
}

fn ready(node: &Node) -> Option<&NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|held| held.type_ == "Ready")
}

/// Brings the taints of `TAINTS` in line with the node's conditions.
fn taint(node: &Arc<Node>, now: Timestamp) -> Option<Action> {
    let status = ready(node).map_or("Unknown", |ready| ready.status.as_str());
    let unschedulable = node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true);
    let wanted = [status == "False", status == "Unknown", unschedulable];
    let mut after = Node::clone(node);
    let taints = after.spec.get_or_insert_default().taints.get_or_insert_default();
    for (key, wanted) in TAINTS.into_iter().zip(wanted) {
        let is_it = |taint: &Taint| taint.key == key && taint.effect == "NoSchedule";
        if !wanted {
            taints.retain(|taint| !is_it(taint));
        } else if !taints.iter().any(is_it) {
            taints.push(Taint {
                key: key.to_owned(),
                effect: "NoSchedule".to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    if after.spec.as_ref()?.taints.as_ref()?.is_empty() {
        after.spec.as_mut()?.taints = None;
    }
    let version = node.metadata.resource_version.as_deref();
    Some(Action::patch(&**node, &after, None)?.guarded_by(version))
}

fn lose(node: &Arc<Node>, now: Timestamp) -> Option<Action> {
    let mut after = Node::clone(node);
    let conditions = after.status.get_or_insert_default().conditions.get_or_insert_default();
    for type_ in WATCHED_CONDITIONS {
        match conditions.iter_mut().find(|held| held.type_ == type_) {
            Some(held) if held.status == "Unknown" => {}
            Some(held) => {
                held.status = "Unknown".to_owned();
                held.reason = Some("NodeStatusUnknown".to_owned());
                held.message = Some("Kubelet stopped posting node status.".to_owned());
                held.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: type_.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let note = Note {
        regarding: reference(&**node),
        severity: Severity::Normal,
        reason: "NodeNotReady",
        message: format!("Node {name} status is now: NodeNotReady"),
    };
    let version = node.metadata.resource_version.as_deref();
    Some(Action::patch(&**node, &after, Some("status"))?.guarded_by(version).on_success(note))
}

/// Only what became ready before the node was lost: times have whole seconds, so the same second counts too.
fn mark_not_ready(pod: &Arc<Pod>, lost: Timestamp, now: Timestamp) -> Option<Action> {
    if pod::ready_since(pod).is_none_or(|ready| ready > lost) {
        return None;
    }
    let mut after = Pod::clone(pod);
    let conditions = after.status.as_mut()?.conditions.as_mut()?;
    let ready = conditions.iter_mut().find(|held| held.type_ == "Ready")?;
    ready.status = "False".to_owned();
    ready.last_transition_time = Some(Time(now));
    let note = Note {
        regarding: reference(&**pod),
        severity: Severity::Warning,
        reason: "NodeNotReady",
        message: "Node is not ready".to_owned(),
    };
    let version = pod.metadata.resource_version.as_deref();
    Some(Action::patch(&**pod, &after, Some("status"))?.guarded_by(version).on_success(note))
}

#[cfg(test)]
mod tests;
