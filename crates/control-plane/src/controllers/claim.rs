//! Adoption and release: which objects a controller owns, by owner reference and selector.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Serialize;

use super::action::{Action, Plan};
use super::label_selector;
use super::object::{Watched, controller_of, controller_reference};

/// The candidates, sorted.
pub(crate) struct Claims<K> {
    /// Owned and matching, or about to be adopted.
    pub(crate) owned: Vec<Arc<K>>,
    adopt: Vec<Arc<K>>,
    release: Vec<Arc<K>>,
}

/// Sorts `candidates`: those of the controller `uid`, and those of none.
pub(crate) fn claim<'a, K: Watched + 'a>(
    uid: &str,
    selector: &LabelSelector,
    candidates: impl Iterator<Item = &'a Arc<K>>,
) -> Claims<K> {
    let mut claims = Claims { owned: Vec::new(), adopt: Vec::new(), release: Vec::new() };
    for object in candidates {
        let matches = label_selector::matches(selector, object.meta().labels.as_ref());
        match controller_of(object.meta()) {
            Some(owner) if owner.uid != uid => {}
            Some(_) if matches => claims.owned.push(object.clone()),
            Some(_) => claims.release.push(object.clone()),
            None if matches && object.meta().deletion_timestamp.is_none() => {
                claims.owned.push(object.clone());
                claims.adopt.push(object.clone());
            }
            None => {}
        }
    }
    claims
}

impl<K: Watched + Clone + Serialize> Claims<K> {
    /// Plans the changes of owner references that `owner` needs.
    pub(crate) fn plan<O: Watched>(&self, plan: &mut Plan, owner: &O) {
        for object in &self.adopt {
            let mut adopted = K::clone(object);
            adopted.meta_mut().owner_references.get_or_insert_default().push(controller_reference(owner));
            plan.actions.extend(guarded(&**object, &adopted));
        }
        for object in &self.release {
            let mut released = K::clone(object);
            let uid = owner.meta().uid.as_deref();
            released.meta_mut().owner_references.iter_mut().for_each(|owners| {
                owners.retain(|owner| Some(owner.uid.as_str()) != uid);
            });
            plan.actions.extend(guarded(&**object, &released));
        }
    }
}

/// Lists of owners are replaced whole, so another's change must not be lost.
fn guarded<K: Watched + Serialize>(before: &K, after: &K) -> Option<Action> {
    let version = before.meta().resource_version.as_deref();
    Some(Action::patch(before, after, None)?.guarded_by(version))
}
