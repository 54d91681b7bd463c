//! Deletion after a look at the live server: caches of different kinds may be ahead of each other, and a
//! deletion must not rest on an owner that was merely not seen yet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::GetParams;

use super::execute::{Executor, RequestError, code, collection};
use super::garbage::owner_target;
use super::object::{Key, Kind, Object, Target};

/// Deletes the object unless one of its owners is there after all.
pub(super) async fn unowned(
    executor: &Executor,
    target: &Target,
    uid: String,
    owners: &[OwnerReference],
) -> Result<Option<Object>, RequestError> {
    for owner in owners {
        let Some(target) = owner_target(target, owner) else { return Ok(None) };
        if live_uid(executor, &target).await?.as_ref() == Some(&owner.uid) {
            return Ok(None);
        }
    }
    executor.delete(target, uid, None, false).await
}

/// Deletes the pod, without grace, unless its node is there after all.
pub(super) async fn of_lost_node(
    executor: &Executor,
    pod: &Target,
    uid: String,
    node: &str,
) -> Result<Option<Object>, RequestError> {
    let node = Target { kind: Kind::Node, key: Key::new("", node) };
    if live_uid(executor, &node).await?.is_some() {
        return Ok(None);
    }
    executor.delete(pod, uid, Some(0), false).await
}

async fn live_uid(executor: &Executor, target: &Target) -> Result<Option<String>, RequestError> {
    let request = collection(target).get(&target.key.name, &GetParams::default());
    match executor.call("get", target, request).await {
        Err(RequestError::Call { source, .. }) if code(&source) == Some(404) => Ok(None),
        result => Ok(result?.and_then(|object| object.meta().uid.clone())),
    }
}
