//! How many pods each ReplicaSet of a Deployment may have: the arithmetic of Kubernetes' deployment
//! controller.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{DeploymentSpec, ReplicaSet};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Rollout, is_recreate, revision};

/// New sizes of ReplicaSets.
type Sizes = Vec<(Arc<ReplicaSet>, i32)>;

pub(super) fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.replicas.unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or(0)
}

/// True if nothing is left of the ReplicaSet but its template.
pub(super) fn is_idle(set: &ReplicaSet) -> bool {
    let status = set.status.clone().unwrap_or_default();
    replicas(set) == 0
        && status.replicas == 0
        && set.metadata.deletion_timestamp.is_none()
        && set.metadata.generation <= status.observed_generation
}

/// Pods that may exist beyond the desired number.
pub(super) fn surge(spec: &DeploymentSpec) -> i32 {
    fenceposts(spec).0
}

/// Pods that may be missing from the desired number.
pub(super) fn unavailable(spec: &DeploymentSpec) -> i32 {
    fenceposts(spec).1
}

/// maxSurge rounds up, maxUnavailable down, both 25 % by default; if both come to nothing, one pod may be
/// missing.
fn fenceposts(spec: &DeploymentSpec) -> (i32, i32) {
    let desired = spec.replicas.unwrap_or(1);
    if is_recreate(spec) {
        return (0, 0);
    }
    let rolling =
        spec.strategy.as_ref().and_then(|strategy| strategy.rolling_update.clone()).unwrap_or_default();
    let surge = scaled(rolling.max_surge.as_ref(), desired, true);
    let unavailable = scaled(rolling.max_unavailable.as_ref(), desired, false);
    match (surge, unavailable) {
        (0, 0) => (0, 1.min(desired)),
        (surge, unavailable) => (surge, unavailable.min(desired)),
    }
}

fn scaled(value: Option<&IntOrString>, of: i32, round_up: bool) -> i32 {
    let percent = match value {
        Some(IntOrString::Int(number)) => return (*number).max(0),
        Some(IntOrString::String(text)) => {
            text.strip_suffix('%').and_then(|text| text.parse().ok()).unwrap_or(0)
        }
        None => 25_i64,
    };
    let product = percent * i64::from(of);
    let share = if round_up { (product + 99) / 100 } else { product / 100 };
    i32::try_from(share.max(0)).unwrap_or(i32::MAX)
}

/// The size that the current ReplicaSet may have now (`NewRSNewReplicas`).
pub(super) fn new_replicas(rollout: &Rollout) -> i32 {
    let desired = rollout.desired();
    let current = rollout.current.as_deref().map_or(0, replicas);
    if current >= desired {
        return desired;
    }
    let total: i32 = rollout.all().map(|set| replicas(set)).sum();
    let room = desired + surge(rollout.spec) - total;
    if room <= 0 { current } else { current + room.min(desired - current) }
}

/// Takes pods from old ReplicaSets: those that serve nobody first, then available ones as far as
/// maxUnavailable allows.
pub(super) fn shrink_old(rollout: &Rollout) -> Sizes {
    let least = rollout.desired() - unavailable(rollout.spec);
    let total: i32 = rollout.all().map(|set| replicas(set)).sum();
    let starting = rollout.current.as_deref().map_or(0, |set| replicas(set) - available(set));
    let mut room = total - least - starting;
    if room <= 0 {
        return Vec::new();
    }
    let mut sizes: Sizes = rollout.old.iter().map(|set| (set.clone(), replicas(set))).collect();
    for (set, size) in &mut sizes {
        let useless = (*size - available(set)).clamp(0, room);
        *size -= useless;
        room -= useless;
    }
    let mut spare = rollout.all().map(|set| available(set)).sum::<i32>() - least;
    for (_, size) in &mut sizes {
        let taken = (*size).min(spare.max(0)).min(room.max(0));
        *size -= taken;
        spare -= taken;
        room -= taken;
    }
    sizes.retain(|(set, size)| replicas(set) != *size);
    sizes
}

/// Sizes after the user has changed the number of replicas in the middle of a rollout: every ReplicaSet keeps
/// its share.
pub(super) fn proportionally(rollout: &Rollout) -> Sizes {
    let desired = rollout.desired();
    let mut active: Vec<_> = rollout.all().filter(|set| replicas(set) > 0).cloned().collect();
    if active.len() <= 1 {
        let only = active.pop().or_else(|| rollout.current.clone()).or_else(|| rollout.old.last().cloned());
        return only.into_iter().map(|set| (set, desired)).collect();
    }
    let noted = |set: &ReplicaSet| revision::number(set, revision::DESIRED_REPLICAS) == Some(desired);
    let full = |set: &ReplicaSet| noted(set) && replicas(set) == desired && available(set) == desired;
    let saturated = rollout.current.as_ref().filter(|set| full(set));
    if saturated.is_some() {
        let old = active.into_iter().filter(|set| Some(set) != saturated);
        return old.map(|set| (set, 0)).collect();
    }
    if rollout.recreates() {
        return active.into_iter().map(|set| (set.clone(), replicas(&set))).collect();
    }
    share(rollout, active)
}

fn share(rollout: &Rollout, mut active: Vec<Arc<ReplicaSet>>) -> Sizes {
    let allowed = if rollout.desired() > 0 { rollout.max_replicas() } else { 0 };
    let change = allowed - active.iter().map(|set| replicas(set)).sum::<i32>();
    // The largest first; of equal ones the newer grows and the older shrinks first. They come oldest first.
    if change > 0 {
        active.reverse();
    }
    active.sort_by_key(|set| -replicas(set));
    let mut done = 0;
    let mut sizes: Sizes = Vec::with_capacity(active.len());
    for set in active {
        let fraction = proportion(rollout, &set);
        let left = change - done;
        let part = if change > 0 { fraction.clamp(0, left) } else { fraction.min(0).max(left) };
        done += part;
        sizes.push((set.clone(), replicas(&set) + part));
    }
    if let Some((_, largest)) = sizes.first_mut() {
        *largest = (*largest + change - done).max(0);
    }
    sizes
}

/// By how much the ReplicaSet would change if its share of the whole stayed the same.
fn proportion(rollout: &Rollout, set: &ReplicaSet) -> i32 {
    let size = replicas(set);
    if rollout.desired() == 0 {
        return -size;
    }
    let recorded = revision::number(set, revision::MAX_REPLICAS).filter(|number| *number > 0);
    let before = recorded.or_else(|| rollout.deployment.status.as_ref()?.replicas).unwrap_or(0);
    if before == 0 {
        return 0;
    }
    let (size64, before) = (i64::from(size), i64::from(before));
    let scaled = (2 * size64 * i64::from(rollout.max_replicas()) + before) / (2 * before);
    i32::try_from(scaled - size64).unwrap_or(0)
}
