//! ReplicaSet → pods: keeps as many active pods as the ReplicaSet asks for.
//!
//! Pods without a controller that match the selector are adopted, owned ones that no longer match are let go.
//! Because the cache holds our own writes, a count is never wrong by what is on its way. At most [`BURST`]
//! pods are made or deleted in one step; `execute` stops at the first refusal, so a full namespace costs a
//! handful of requests and not all of them.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::action::{Action, Note, Plan, Severity, Verb};
use super::claim::{self, Claims};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::label_selector;
use super::object::{Key, Kind, Object, Target, controller_of, controller_reference, reference};
use super::pod;

mod ranking;

/// Pods made or deleted in one step.
const BURST: usize = 500;

/// The controller.
pub(super) struct ReplicaSets;

impl Controller for ReplicaSets {
    fn component(&self) -> &'static str {
        "replicaset-controller"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        for state in change.states() {
            match state {
                Object::ReplicaSet(_) => wake.push(state.target()),
                Object::Pod(pod) => wake.extend(sets_of(cluster, pod)),
                _ => {}
            }
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, now: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(set) = cluster.get::<ReplicaSet>(&target.key) else { return plan };
        if label_selector::is_empty(&set.spec.selector) {
            return plan;
        }
        let claims = claim_pods(cluster, set);
        if set.metadata.deletion_timestamp.is_none() {
            claims.plan(&mut plan, &**set);
            let active: Vec<_> = claims.owned.iter().filter(|pod| pod::is_active(pod)).cloned().collect();
            let wanted = usize::try_from(set.spec.replicas.unwrap_or(1)).unwrap_or(0);
            if active.len() < wanted {
                create(&mut plan, set, wanted - active.len());
            } else {
                delete(&mut plan, cluster, set, &active, active.len() - wanted, now.wall);
            }
        }
        update_status(&mut plan, set, &claims.owned, now.wall);
        plan
    }
}

/// The ReplicaSet that controls the pod, or those that may adopt it.
fn sets_of(cluster: &Cluster, pod: &Pod) -> Vec<Target> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let target = |name: &str| Target { kind: Kind::ReplicaSet, key: Key::new(namespace, name) };
    if let Some(owner) = controller_of(&pod.metadata) {
        return Some(target(&owner.name)).filter(|_| owner.kind == "ReplicaSet").into_iter().collect();
    }
    let labels = pod.metadata.labels.as_ref();
    let adopts = |set: &&Arc<ReplicaSet>| {
        let selector = &set.spec.selector;
        !label_selector::is_empty(selector) && label_selector::matches(selector, labels)
    };
    let sets = cluster.replica_sets.in_namespace(namespace).filter(adopts);
    sets.map(|set| target(set.metadata.name.as_deref().unwrap_or_default())).collect()
}

fn claim_pods(cluster: &Cluster, set: &ReplicaSet) -> Claims<Pod> {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let namespace = set.metadata.namespace.as_deref();
    let orphans = cluster.pods_of("").filter(|pod| pod.metadata.namespace.as_deref() == namespace);
    let adoptable = orphans.filter(|pod| pod::is_active(pod));
    claim::claim(uid, &set.spec.selector, cluster.pods_of(uid).chain(adoptable))
}

fn create(plan: &mut Plan, set: &Arc<ReplicaSet>, missing: usize) {
    let pod = pod_of(set);
    for _ in 0..missing.min(BURST) {
        let note = |severity, reason, message: &str| Note {
            regarding: reference(&**set),
            severity,
            reason,
            message: message.to_owned(),
        };
        plan.actions.push(
            Action::from(Verb::Create(Object::Pod(pod.clone())))
                .on_success(note(Severity::Normal, "SuccessfulCreate", "Created pod: {name}"))
                .on_failure(note(Severity::Warning, "FailedCreate", "Error creating: {error}")),
        );
    }
}

fn pod_of(set: &ReplicaSet) -> Arc<Pod> {
    let mut pod = Pod::default();
    if let Some(template) = &set.spec.template {
        if let Some(meta) = &template.metadata {
            pod.metadata.labels = meta.labels.clone();
            pod.metadata.annotations = meta.annotations.clone();
            pod.metadata.finalizers = meta.finalizers.clone();
        }
        pod.spec = template.spec.clone();
    }
    pod.metadata.namespace = set.metadata.namespace.clone();
    pod.metadata.generate_name = Some(format!("{}-", set.metadata.name.as_deref().unwrap_or_default()));
    pod.metadata.owner_references = Some(vec![controller_reference(set)]);
    Arc::new(pod)
}

fn delete(
    plan: &mut Plan,
    cluster: &Cluster,
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    surplus: usize,
    now: Timestamp,
) {
    if surplus == 0 {
        return;
    }
    for pod in ranking::first_to_go(cluster, active, now).into_iter().take(surplus.min(BURST)) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let note = |severity, reason, message| Note { regarding: reference(set), severity, reason, message };
        plan.actions.push(
            Action::from(Verb::Delete {
                target: Target { kind: Kind::Pod, key: Key::of(&pod.metadata) },
                uid: pod.metadata.uid.clone().unwrap_or_default(),
                grace: None,
                foreground: false,
            })
            .on_success(note(Severity::Normal, "SuccessfulDelete", format!("Deleted pod: {name}")))
            .on_failure(note(
                Severity::Warning,
                "FailedDelete",
                "Error deleting: {error}".to_owned(),
            )),
        );
    }
}

fn update_status(plan: &mut Plan, set: &Arc<ReplicaSet>, owned: &[Arc<Pod>], now: Timestamp) {
    let spec = &set.spec;
    let min_ready = spec.min_ready_seconds.unwrap_or(0);
    let template = spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let template_labels = template.and_then(|meta| meta.labels.as_ref());
    let active: Vec<_> = owned.iter().filter(|pod| pod::is_active(pod)).collect();
    let waits: Vec<_> = active.iter().filter_map(|pod| pod::available_in(pod, min_ready, now)).collect();
    if let Some(next) = waits.iter().filter(|wait| !wait.is_zero()).min() {
        plan.again_in(*next);
    }
    let labelled = active.iter().filter(|pod| {
        template_labels
            .is_none_or(|labels| label_selector::contains_all(pod.metadata.labels.as_ref(), labels))
    });
    let terminating =
        owned.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && !pod::is_finished(pod));
    let status = ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some_count(labelled.count()),
        ready_replicas: some_count(waits.len()),
        available_replicas: some_count(waits.iter().filter(|wait| wait.is_zero()).count()),
        terminating_replicas: Some(count(terminating.count())),
        observed_generation: set.metadata.generation,
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
    };
    if set.status.as_ref() == Some(&status) {
        return;
    }
    let mut after = ReplicaSet::clone(set);
    after.status = Some(status);
    plan.actions.extend(Action::patch(&**set, &after, Some("status")));
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// The API leaves zero out.
fn some_count(number: usize) -> Option<i32> {
    Some(count(number)).filter(|number| *number > 0)
}

#[cfg(test)]
mod tests;
