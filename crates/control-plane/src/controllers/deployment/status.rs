//! Status and conditions of a Deployment, with the reasons and texts of Kubernetes' deployment controller.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{Rollout, rollout};
use crate::controllers::action::{Action, Plan};

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
/// A `progressDeadlineSeconds` that means "none".
const NO_DEADLINE: i32 = i32::MAX;

/// True if every pod is of the current template and available, as far as the last written status tells.
pub(super) fn is_complete(rollout: &Rollout) -> bool {
    complete(rollout, &counts(rollout))
}

fn complete(rollout: &Rollout, status: &DeploymentStatus) -> bool {
    let desired = rollout.desired();
    status.updated_replicas.unwrap_or(0) == desired
        && status.replicas.unwrap_or(0) == desired
        && status.available_replicas.unwrap_or(0) == desired
}

/// Plans the write of a status that differs from the one that is held.
pub(super) fn update(plan: &mut Plan, rollout: &Rollout, now: Timestamp) {
    let deployment = rollout.deployment;
    let before = deployment.status.clone().unwrap_or_default();
    let mut status = counts(rollout);
    let mut conditions = before.conditions.clone().unwrap_or_default();
    set(&mut conditions, available_condition(rollout, &status), now);
    if let Some(wait) = progress(rollout, &before, &status, &mut conditions, now) {
        plan.again_in(wait);
    }
    status.conditions = Some(conditions);
    if deployment.status.as_ref() == Some(&status) {
        return;
    }
    let mut after = Deployment::clone(deployment);
    after.status = Some(status);
    plan.actions.extend(Action::patch(&**deployment, &after, Some("status")));
}

fn counts(rollout: &Rollout) -> DeploymentStatus {
    let of = |set: &ReplicaSet| set.status.clone().unwrap_or_default();
    let sum = |count: fn(&ReplicaSet) -> i32| rollout.all().map(|set| count(set)).sum::<i32>();
    let available = sum(rollout::available);
    let some = |number: i32| Some(number).filter(|number| *number != 0);
    DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: some(rollout.all().map(|set| of(set).replicas).sum()),
        updated_replicas: some(rollout.current.as_deref().map_or(0, |set| of(set).replicas)),
        ready_replicas: some(rollout.all().filter_map(|set| of(set).ready_replicas).sum()),
        available_replicas: some(available),
        unavailable_replicas: some((sum(rollout::replicas) - available).max(0)),
        terminating_replicas: Some(rollout.all().filter_map(|set| of(set).terminating_replicas).sum()),
        collision_count: rollout.deployment.status.as_ref().and_then(|status| status.collision_count),
        conditions: None,
    }
}

fn available_condition(rollout: &Rollout, status: &DeploymentStatus) -> DeploymentCondition {
    let least = rollout.desired() - rollout::unavailable(rollout.spec);
    if status.available_replicas.unwrap_or(0) >= least {
        condition(AVAILABLE, true, "MinimumReplicasAvailable", "Deployment has minimum availability.".into())
    } else {
        let text = "Deployment does not have minimum availability.".into();
        condition(AVAILABLE, false, "MinimumReplicasUnavailable", text)
    }
}

/// Maintains the condition Progressing; returns how long until the deadline has to be looked at again.
fn progress(
    rollout: &Rollout,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = rollout.spec.progress_deadline_seconds.filter(|seconds| *seconds != NO_DEADLINE);
    let Some(deadline) = deadline else {
        conditions.retain(|held| held.type_.as_deref() != Some(PROGRESSING));
        return None;
    };
    let held = conditions.iter().find(|held| held.type_.as_deref() == Some(PROGRESSING)).cloned();
    if pause_or_resume(rollout, held.as_ref(), conditions, now) {
        return None;
    }
    let finished = held.as_ref().is_some_and(|held| held.reason.as_deref() == Some(COMPLETE))
        && status.replicas == status.updated_replicas
        && rollout.current.is_some();
    if finished {
        return None;
    }
    let name = set_name(rollout);
    if complete(rollout, status) {
        let text = format!("ReplicaSet \"{name}\" has successfully progressed.");
        set(conditions, condition(PROGRESSING, true, COMPLETE, text), now);
        return None;
    }
    let Some(held) = held.filter(|_| rollout.current.is_some()) else {
        // Recreate makes the ReplicaSet only when the old pods are gone.
        if rollout.current.is_some()
            || rollout.old.iter().all(|set| rollout::is_idle(set) || !rollout.recreates())
        {
            set(conditions, started(rollout, &name), now);
        }
        return Some(seconds(deadline));
    };
    if has_progressed(before, status) {
        let text = format!("ReplicaSet \"{name}\" is progressing.");
        advance(conditions, condition(PROGRESSING, true, "ReplicaSetUpdated", text), now);
        return Some(seconds(deadline));
    }
    expire(conditions, &held, &name, deadline, now)
}

/// Maintains the reasons of a paused Deployment; true if it is paused.
fn pause_or_resume(
    rollout: &Rollout,
    held: Option<&DeploymentCondition>,
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
) -> bool {
    let paused = rollout.spec.paused == Some(true);
    let reason = held.and_then(|held| held.reason.as_deref());
    let unknown = |reason, text: &str| DeploymentCondition {
        status: Some("Unknown".to_owned()),
        ..condition(PROGRESSING, false, reason, text.to_owned())
    };
    if paused && reason != Some(TIMED_OUT) {
        set(conditions, unknown("DeploymentPaused", "Deployment is paused"), now);
    } else if !paused && reason == Some("DeploymentPaused") {
        set(conditions, unknown("DeploymentResumed", "Deployment is resumed"), now);
    }
    paused
}

/// The first condition of a rollout. The ReplicaSet is made in the same step if it is not there.
fn started(rollout: &Rollout, name: &str) -> DeploymentCondition {
    let (reason, text) = match rollout.current {
        Some(_) => ("FoundNewReplicaSet", format!("Found new replica set \"{name}\"")),
        None => ("NewReplicaSetCreated", format!("Created new replica set \"{name}\"")),
    };
    condition(PROGRESSING, true, reason, text)
}

fn set_name(rollout: &Rollout) -> String {
    let held = rollout.current.as_ref().and_then(|set| set.metadata.name.clone());
    let planned = || super::revision::new_set(rollout.deployment, rollout.spec, "", 0, 0).metadata.name;
    held.or_else(planned).unwrap_or_default()
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let of = |status: &DeploymentStatus| {
        let updated = status.updated_replicas.unwrap_or(0);
        let old = status.replicas.unwrap_or(0) - updated;
        (updated, old, status.ready_replicas.unwrap_or(0), status.available_replicas.unwrap_or(0))
    };
    let (before, now) = (of(before), of(now));
    now.0 > before.0 || now.1 < before.1 || now.2 > before.2 || now.3 > before.3
}

fn expire(
    conditions: &mut Vec<DeploymentCondition>,
    held: &DeploymentCondition,
    name: &str,
    deadline: i32,
    now: Timestamp,
) -> Option<Duration> {
    if matches!(held.reason.as_deref(), Some(TIMED_OUT)) {
        return None;
    }
    // A rollout that was complete and now lacks pods is not a rollout: nothing expires.
    if held.reason.as_deref() == Some(COMPLETE) {
        return None;
    }
    let since = held.last_update_time.as_ref().map_or(now, |time| time.0);
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    if passed < seconds(deadline) {
        return Some(seconds(deadline) - passed);
    }
    let text = format!("ReplicaSet \"{name}\" has timed out progressing.");
    set(conditions, condition(PROGRESSING, false, TIMED_OUT, text), now);
    None
}

fn seconds(number: i32) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}

fn condition(type_: &str, holds: bool, reason: &str, message: String) -> DeploymentCondition {
    DeploymentCondition {
        type_: Some(type_.to_owned()),
        status: Some(if holds { "True" } else { "False" }.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        ..DeploymentCondition::default()
    }
}

/// Replaces the condition of the same type unless status and reason are the same.
fn set(conditions: &mut Vec<DeploymentCondition>, new: DeploymentCondition, now: Timestamp) {
    let held = conditions.iter().find(|held| held.type_ == new.type_);
    if held.is_some_and(|held| held.status == new.status && held.reason == new.reason) {
        return;
    }
    advance(conditions, new, now);
}

/// Replaces the condition of the same type; the time of the last transition stays if the status does.
fn advance(conditions: &mut Vec<DeploymentCondition>, mut new: DeploymentCondition, now: Timestamp) {
    let held = conditions.iter().position(|held| held.type_ == new.type_);
    let held = held.map(|index| conditions.remove(index));
    let same = held.filter(|held| held.status == new.status);
    new.last_transition_time =
        same.and_then(|held| held.last_transition_time).or(Some(Time(whole_second(now))));
    new.last_update_time = Some(Time(whole_second(now)));
    conditions.push(new);
}

/// The API keeps seconds; a finer time would never compare equal to what comes back.
fn whole_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
