//! Deployment → ReplicaSets: one ReplicaSet for each pod template, scaled against each other by the strategy.
//!
//! The arithmetic of a rollout is in `rollout`, the status in `status`, names and annotations of ReplicaSets
//! in `revision`. This file decides which of them applies: paused and scaled Deployments only scale, Recreate
//! waits for old pods to be gone, RollingUpdate moves within maxSurge and maxUnavailable. Old ReplicaSets
//! beyond the history limit are deleted when a rollout is complete. Rollback is a client's business (`kubectl
//! rollout undo` writes the old template).

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};

use super::action::{Action, Note, Plan, Severity, Verb};
use super::claim;
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::label_selector;
use super::object::{Key, Kind, Object, Target, controller_of, reference};

mod revision;
mod rollout;
mod status;

/// The controller.
pub(super) struct Deployments;

/// What one look at a Deployment is about.
struct Rollout<'a> {
    deployment: &'a Arc<Deployment>,
    spec: &'a DeploymentSpec,
    /// The ReplicaSet of the current template, if there is one.
    current: Option<Arc<ReplicaSet>>,
    /// All others, oldest first.
    old: Vec<Arc<ReplicaSet>>,
}

impl Controller for Deployments {
    fn component(&self) -> &'static str {
        "deployment-controller"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        for state in change.states() {
            match state {
                Object::Deployment(_) => wake.push(state.target()),
                Object::ReplicaSet(set) => wake.extend(deployment_of(set)),
                Object::Pod(_) if change.new.is_none() => wake.extend(recreate_after(cluster, state)),
                _ => {}
            }
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, now: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(deployment) = cluster.get::<Deployment>(&target.key) else { return plan };
        let spec = &deployment.spec;
        if label_selector::is_empty(&spec.selector) {
            return plan;
        }
        let sets = claim_sets(cluster, deployment, spec);
        if deployment.metadata.deletion_timestamp.is_some() {
            let rollout = Rollout::of(deployment, spec, sets.owned);
            status::update(&mut plan, &rollout, now.wall);
            return plan;
        }
        sets.plan(&mut plan, &**deployment);
        Rollout::of(deployment, spec, sets.owned).plan(&mut plan, cluster, now.wall);
        plan
    }
}

fn deployment_of(set: &ReplicaSet) -> Option<Target> {
    let owner = controller_of(&set.metadata).filter(|owner| owner.kind == "Deployment")?;
    let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
    Some(Target { kind: Kind::Deployment, key: Key::new(namespace, &owner.name) })
}

/// A pod is gone: its Deployment may have waited for that (strategy Recreate).
fn recreate_after(cluster: &Cluster, pod: &Object) -> Option<Target> {
    let owner = controller_of(pod.meta()).filter(|owner| owner.kind == "ReplicaSet")?;
    let set = cluster.get::<ReplicaSet>(&Key::new(pod.meta().namespace.as_deref()?, &owner.name))?;
    let target = deployment_of(set)?;
    let deployment = cluster.get::<Deployment>(&target.key)?;
    Some(target).filter(|_| is_recreate(&deployment.spec))
}

fn claim_sets(
    cluster: &Cluster,
    deployment: &Deployment,
    spec: &DeploymentSpec,
) -> claim::Claims<ReplicaSet> {
    let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
    let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
    claim::claim(uid, &spec.selector, cluster.replica_sets.in_namespace(namespace))
}

fn is_recreate(spec: &DeploymentSpec) -> bool {
    spec.strategy.as_ref().and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

impl<'a> Rollout<'a> {
    fn of(deployment: &'a Arc<Deployment>, spec: &'a DeploymentSpec, mut sets: Vec<Arc<ReplicaSet>>) -> Self {
        sets.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), set.metadata.name.clone()));
        let current = sets.iter().position(|set| revision::has_template(set, &spec.template));
        let current = current.map(|index| sets.remove(index));
        Self { deployment, spec, current, old: sets }
    }

    fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.current)
    }

    fn desired(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn recreates(&self) -> bool {
        is_recreate(self.spec)
    }

    fn plan(&self, plan: &mut Plan, cluster: &Cluster, now: Timestamp) {
        if self.spec.paused == Some(true) || self.was_scaled() {
            self.scale(plan, rollout::proportionally(self));
        } else if self.recreates() {
            self.recreate(plan, cluster);
        } else {
            self.roll(plan);
        }
        if status::is_complete(self) {
            self.clean_up(plan);
        }
        status::update(plan, self, now);
    }

    /// True if the user has changed the number of replicas since the ReplicaSets were last scaled.
    fn was_scaled(&self) -> bool {
        let active = self.all().filter(|set| rollout::replicas(set) > 0);
        active.into_iter().any(|set| {
            revision::number(set, revision::DESIRED_REPLICAS).is_some_and(|seen| seen != self.desired())
        })
    }

    fn recreate(&self, plan: &mut Plan, cluster: &Cluster) {
        let active = self.old.iter().filter(|set| rollout::replicas(set) > 0);
        let down: Vec<_> = active.map(|set| (set.clone(), 0)).collect();
        if !down.is_empty() {
            self.scale(plan, down);
        } else if !self.old.iter().any(|set| has_pods(cluster, set)) {
            self.move_current(plan, self.desired());
        }
    }

    fn roll(&self, plan: &mut Plan) {
        let target = rollout::new_replicas(self);
        let settled = self.current.as_ref().is_some_and(|set| rollout::replicas(set) == target);
        self.move_current(plan, target);
        if settled {
            self.scale(plan, rollout::shrink_old(self));
        }
    }

    /// Makes the current ReplicaSet if there is none, and gives it its size and revision.
    fn move_current(&self, plan: &mut Plan, replicas: i32) {
        let revision = revision::next(self.current.as_deref(), &self.old);
        match &self.current {
            Some(set) => {
                let updated = revision::updated(set, self.deployment, &revision, self.max_replicas());
                self.resize(plan, set, updated, replicas);
            }
            None => self.create_current(plan, &revision, replicas),
        }
        let mut annotated = Deployment::clone(self.deployment);
        let annotations = annotated.metadata.annotations.get_or_insert_default();
        annotations.insert(revision::REVISION.to_owned(), revision);
        plan.actions.extend(Action::patch(&**self.deployment, &annotated, None));
    }

    fn create_current(&self, plan: &mut Plan, revision: &str, replicas: i32) {
        let set = revision::new_set(self.deployment, self.spec, revision, replicas, self.max_replicas());
        let taken = self.old.iter().find(|other| other.metadata.name == set.metadata.name);
        if taken.is_some() {
            // Two templates with one hash: the next look uses another one.
            let mut collided = Deployment::clone(self.deployment);
            let status = collided.status.get_or_insert_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
            plan.actions.extend(Action::patch(&**self.deployment, &collided, Some("status")));
            return;
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        let create = Action::from(Verb::Create(Object::new(set)));
        plan.actions.push(match replicas {
            0 => create,
            _ => create.on_success(self.scaled("up", &name, 0, replicas)),
        });
    }

    fn scale(&self, plan: &mut Plan, sizes: Vec<(Arc<ReplicaSet>, i32)>) {
        for (set, replicas) in sizes {
            let updated = revision::sized(&set, self.desired(), self.max_replicas());
            self.resize(plan, &set, updated, replicas);
        }
    }

    fn resize(&self, plan: &mut Plan, set: &Arc<ReplicaSet>, mut updated: ReplicaSet, replicas: i32) {
        let before = rollout::replicas(set);
        updated.spec.replicas = Some(replicas);
        let Some(action) = Action::patch(&**set, &updated, None) else { return };
        let name = set.metadata.name.as_deref().unwrap_or_default();
        plan.actions.push(match replicas - before {
            0 => action,
            1.. => action.on_success(self.scaled("up", name, before, replicas)),
            _ => action.on_success(self.scaled("down", name, before, replicas)),
        });
    }

    fn scaled(&self, direction: &str, set: &str, from: i32, to: i32) -> Note {
        Note {
            regarding: reference(&**self.deployment),
            severity: Severity::Normal,
            reason: "ScalingReplicaSet",
            message: format!("Scaled {direction} replica set {set} from {from} to {to}"),
        }
    }

    /// The most pods that the strategy allows, as the annotation of ReplicaSets records it.
    fn max_replicas(&self) -> i32 {
        self.desired() + rollout::surge(self.spec)
    }

    fn clean_up(&self, plan: &mut Plan) {
        let limit = usize::try_from(self.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
        let mut idle: Vec<_> = self.old.iter().filter(|set| rollout::is_idle(set)).collect();
        let surplus = idle.len().saturating_sub(limit);
        idle.sort_by_key(|set| revision::number(set, revision::REVISION));
        for set in idle.into_iter().take(surplus) {
            plan.then(Verb::Delete {
                target: Target { kind: Kind::ReplicaSet, key: Key::of(&set.metadata) },
                uid: set.metadata.uid.clone().unwrap_or_default(),
                grace: None,
                foreground: false,
            });
        }
    }
}

fn has_pods(cluster: &Cluster, set: &ReplicaSet) -> bool {
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    cluster.pods_of(uid).any(|pod| !super::pod::is_finished(pod))
}

#[cfg(test)]
mod tests;
