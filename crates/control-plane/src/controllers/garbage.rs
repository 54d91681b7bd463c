//! Garbage collection by owner references, for the watched kinds.
//!
//! Background: an object all of whose owners are gone is deleted, after the server has confirmed that they
//! are. Foreground (finalizer `foregroundDeletion`): dependents first, then the finalizer goes. Orphan
//! (finalizer `orphan`): dependents lose the reference, then the finalizer goes. An owner of a kind that is
//! not watched counts as there.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::action::{Plan, Verb};
use super::cluster::{Change, Cluster};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Object, Target};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// The controller for everything but pods of lost nodes.
pub(super) struct Garbage;

impl Controller for Garbage {
    fn component(&self) -> &'static str {
        "garbage-collector-controller"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        if let Some(new) = &change.new {
            let waits = new.meta().deletion_timestamp.is_some() && finalizer(new).is_some();
            if waits || lost_owners(cluster, new).is_some() {
                wake.push(new.target());
            }
        }
        let Some(old) = &change.old else { return };
        if change.new.is_none() {
            wake.extend(cluster.dependents_of(old.meta().uid.as_deref().unwrap_or_default()).cloned());
        }
        // An owner may wait for this one to go, or to forget it.
        wake.extend(owners(old).filter_map(|owner| waiting_owner(cluster, old, owner)));
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(object) = cluster.object(target) else { return plan };
        match finalizer(&object).filter(|_| object.meta().deletion_timestamp.is_some()) {
            Some(ORPHAN) => orphan(&mut plan, cluster, &object),
            Some(_) => delete_dependents_first(&mut plan, cluster, &object),
            None if object.meta().deletion_timestamp.is_some() => {}
            None => {
                if let Some(owners) = lost_owners(cluster, &object) {
                    let uid = object.meta().uid.clone().unwrap_or_default();
                    plan.then(Verb::Collect { target: target.clone(), uid, owners });
                }
            }
        }
        plan
    }
}

fn owners(object: &Object) -> impl Iterator<Item = &OwnerReference> {
    object.meta().owner_references.iter().flatten()
}

fn finalizer(object: &Object) -> Option<&str> {
    let finalizers = object.meta().finalizers.iter().flatten().map(String::as_str);
    finalizers.into_iter().find(|finalizer| matches!(*finalizer, FOREGROUND | ORPHAN))
}

/// The object that an owner reference means, whether or not it exists; `None` for kinds that are not watched.
pub(super) fn owner_target(dependent: &Target, owner: &OwnerReference) -> Option<Target> {
    let kind = Kind::named(&owner.api_version, &owner.kind)?;
    let namespace = if matches!(kind, Kind::Node | Kind::Namespace) { "" } else { &dependent.key.namespace };
    Some(Target { kind, key: Key::new(namespace, &owner.name) })
}

/// The owners of an object that has some and none of them is there.
fn lost_owners(cluster: &Cluster, object: &Object) -> Option<Vec<OwnerReference>> {
    let target = object.target();
    let is_lost = |owner: &OwnerReference| {
        owner_target(&target, owner).is_some_and(|target| {
            cluster.meta(&target).is_none_or(|meta| meta.uid.as_ref() != Some(&owner.uid))
        })
    };
    let all: Vec<_> = owners(object).cloned().collect();
    Some(all).filter(|all| !all.is_empty() && all.iter().all(is_lost))
}

fn waiting_owner(cluster: &Cluster, dependent: &Object, owner: &OwnerReference) -> Option<Target> {
    let target = owner_target(&dependent.target(), owner)?;
    let held = cluster.object(&target)?;
    (held.meta().deletion_timestamp.is_some() && finalizer(&held).is_some()).then_some(target)
}

fn orphan(plan: &mut Plan, cluster: &Cluster, owner: &Object) {
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    let mut left = false;
    for target in cluster.dependents_of(uid) {
        let Some(dependent) = cluster.object(target) else { continue };
        left = true;
        let kept: Vec<_> = owners(&dependent).filter(|owner| owner.uid != uid).collect();
        let meta = serde_json::json!({
            "ownerReferences": kept, "uid": dependent.meta().uid, "resourceVersion": dependent.meta().resource_version,
        });
        let patch = serde_json::json!({ "metadata": meta });
        plan.then(Verb::Patch { target: target.clone(), subresource: None, patch });
    }
    if !left {
        release(plan, owner, ORPHAN);
    }
}

fn delete_dependents_first(plan: &mut Plan, cluster: &Cluster, owner: &Object) {
    let uid = owner.meta().uid.as_deref().unwrap_or_default();
    let mut blocked = false;
    for target in cluster.dependents_of(uid) {
        let Some(dependent) = cluster.object(target) else { continue };
        blocked |=
            owners(&dependent).any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true));
        if dependent.meta().deletion_timestamp.is_none() {
            let uid = dependent.meta().uid.clone().unwrap_or_default();
            plan.then(Verb::Delete { target: target.clone(), uid, grace: None, foreground: true });
        }
    }
    if !blocked {
        release(plan, owner, FOREGROUND);
    }
}

fn release(plan: &mut Plan, owner: &Object, finalizer: &str) {
    let kept: Vec<_> = owner.meta().finalizers.iter().flatten().filter(|held| *held != finalizer).collect();
    let version = &owner.meta().resource_version;
    let patch = serde_json::json!({"metadata": {"finalizers": kept, "resourceVersion": version}});
    plan.then(Verb::Patch { target: owner.target(), subresource: None, patch });
}

#[cfg(test)]
mod tests;
