//! Scheduler: binds each pod without a node to one that is ready and takes it.
//!
//! The pods of one owner are spread evenly, then all pods. A node must be Ready and schedulable, tolerated by
//! the pod and selected by its node selector and required node affinity, and have room for one more pod;
//! requests for CPU and memory do not count. Nobody is preempted. A pod that fits nowhere says so in its
//! condition and an Event, and is looked at again when a node changes or a pod ends.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::action::{Action, Note, Plan, Severity, Verb};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Target, controller_of, reference};
use super::pod;

mod fit;

/// The name in `spec.schedulerName` of the pods that are ours.
const NAME: &str = "default-scheduler";

/// The controller.
pub(super) struct Scheduler;

impl Controller for Scheduler {
    fn component(&self) -> &'static str {
        NAME
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        let (old, new) = change.of::<Pod>();
        match (old, new) {
            (_, Some(new)) if waits(cluster, new) => wake.push(target(new)),
            (Some(_), new) if new.is_none_or(|new| pod::is_finished(new)) => wake_all(cluster, wake),
            _ => {}
        }
        let (old, new) = change.of::<Node>();
        if new.is_some_and(|new| old.is_none_or(|old| fit::differs(old, new))) {
            wake_all(cluster, wake);
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, now: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(pod) = cluster.get::<Pod>(&target.key).filter(|pod| waits(cluster, pod)) else {
            return plan;
        };
        match choose(cluster, pod) {
            Ok(node) => plan.actions.push(bind(pod, node)),
            Err(reason) => refuse(&mut plan, pod, reason, now.wall),
        }
        plan
    }
}

fn target(pod: &Pod) -> Target {
    Target { kind: Kind::Pod, key: Key::of(&pod.metadata) }
}

fn wake_all(cluster: &Cluster, wake: &mut Vec<Target>) {
    wake.extend(cluster.pods_on("").filter(|pod| waits(cluster, pod)).map(|pod| target(pod)));
}

/// True if the pod has no node, not even an assumed one, and wants one from us.
fn waits(cluster: &Cluster, pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == NAME || name.is_empty());
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated && pod::is_active(pod) && cluster.node_of(pod).is_none()
}

/// The best node; if there is none, why not.
fn choose<'a>(cluster: &'a Cluster, pod: &Pod) -> Result<&'a str, String> {
    let mut refusals = Vec::new();
    let mut best: Option<((usize, usize), &str)> = None;
    for node in cluster.nodes.iter() {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let load = Load::of(cluster, name, pod);
        match fit::refusal(node, pod, load.pods) {
            Some(reason) => refusals.push(reason),
            None => {
                let score = (load.siblings, load.pods);
                if best.is_none_or(|(least, _)| score < least) {
                    best = Some((score, name));
                }
            }
        }
    }
    best.map(|(_, name)| name).ok_or_else(|| fit::explain(refusals))
}

/// Pods that count on a node: bound to it, or assumed to be.
struct Load {
    pods: usize,
    /// Those of the same controller (or, without one, with the same labels).
    siblings: usize,
}

impl Load {
    fn of(cluster: &Cluster, node: &str, pod: &Pod) -> Self {
        let assumed = cluster.assumed().filter(|(_, on)| *on == node).map(|(pod, _)| pod);
        let mut load = Self { pods: 0, siblings: 0 };
        for other in cluster.pods_on(node).chain(assumed).filter(|other| !pod::is_finished(other)) {
            load.pods += 1;
            load.siblings +=
                usize::from(other.metadata.deletion_timestamp.is_none() && are_siblings(other, pod));
        }
        load
    }
}

fn are_siblings(a: &Pod, b: &Pod) -> bool {
    if a.metadata.namespace != b.metadata.namespace {
        return false;
    }
    match (controller_of(&a.metadata), controller_of(&b.metadata)) {
        (Some(a), Some(b)) => a.uid == b.uid,
        (None, None) => a.metadata.labels.is_some() && a.metadata.labels == b.metadata.labels,
        _ => false,
    }
}

fn bind(pod: &Arc<Pod>, node: &str) -> Action {
    let Key { namespace, name } = Key::of(&pod.metadata);
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    Action::from(Verb::Bind { pod: target(pod), uid, node: node.to_owned() }).on_success(Note {
        regarding: reference(&**pod),
        severity: Severity::Normal,
        reason: "Scheduled",
        message: format!("Successfully assigned {namespace}/{name} to {node}"),
    })
}

fn refuse(plan: &mut Plan, pod: &Arc<Pod>, reason: String, now: Timestamp) {
    let held = pod::condition(pod, "PodScheduled");
    if held.is_some_and(|held| held.status == "False" && held.message.as_deref() == Some(&*reason)) {
        return;
    }
    let since = held.filter(|held| held.status == "False").and_then(|held| held.last_transition_time.clone());
    let mut after = Pod::clone(pod);
    let conditions = after.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|held| held.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "False".to_owned(),
        reason: Some("Unschedulable".to_owned()),
        message: Some(reason.clone()),
        last_transition_time: since.or(Some(Time(now))),
        ..PodCondition::default()
    });
    let note = Note {
        regarding: reference(&**pod),
        severity: Severity::Warning,
        reason: "FailedScheduling",
        message: reason,
    };
    let version = pod.metadata.resource_version.as_deref();
    let action = Action::patch(&**pod, &after, Some("status"));
    plan.actions.extend(action.map(|action| action.guarded_by(version).on_success(note)));
}

#[cfg(test)]
mod tests;
