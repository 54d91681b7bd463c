//! What a controller wants done: plain values, made by the pure half and carried out by `execute`.

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Value;

use super::object::{Key, Object, Target, Watched};

/// The result of looking at one object.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Independent of each other; carried out at the same time.
    pub(crate) actions: Vec<Action>,
    /// Look again after this time, even if nothing happens.
    pub(crate) again: Option<Duration>,
}

impl Plan {
    pub(crate) fn then(&mut self, verb: Verb) {
        self.actions.push(Action { verb, success: None, failure: None });
    }

    /// Looks again after `delay`, or earlier if that is already planned.
    pub(crate) fn again_in(&mut self, delay: Duration) {
        self.again = Some(self.again.map_or(delay, |planned| planned.min(delay)));
    }
}

/// One request, and the Events that tell of it.
#[derive(Debug)]
pub(crate) struct Action {
    pub(crate) verb: Verb,
    /// Recorded when it succeeded. `{name}` in the message is the name of the object that came back.
    pub(crate) success: Option<Note>,
    /// Recorded when it failed. `{error}` in the message is the server's text.
    pub(crate) failure: Option<Note>,
}

/// What to ask of the API.
#[derive(Debug)]
pub(crate) enum Verb {
    Create(Object),
    /// A PUT with the resource version that the object carries.
    Replace(Object),
    /// A merge patch of the object, or of its `status` subresource.
    Patch {
        target: Target,
        subresource: Option<&'static str>,
        patch: Value,
    },
    /// Deletes the object with this uid; `grace` in seconds overrides the object's own. Foreground: its
    /// dependents first.
    Delete {
        target: Target,
        uid: String,
        grace: Option<u32>,
        foreground: bool,
    },
    /// Binds a pod (by key and uid) to a node.
    Bind {
        pod: Target,
        uid: String,
        node: String,
    },
    /// Deletes what a terminating Namespace holds, and its finalizer when nothing is left.
    EmptyNamespace {
        name: String,
    },
    /// Deletes the object if the server confirms that all of its owners are gone.
    Collect {
        target: Target,
        uid: String,
        owners: Vec<OwnerReference>,
    },
    /// Deletes the pod if the server confirms that its node is gone.
    CollectPod {
        pod: Target,
        uid: String,
        node: String,
    },
}

/// An Event to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Note {
    pub(crate) regarding: ObjectReference,
    pub(crate) severity: Severity,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The `type` of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

impl Action {
    /// A merge patch that turns `old` into `new`; `None` if they are the same. Both are whole objects; only
    /// what differs is sent.
    pub(crate) fn patch<K: Watched + serde::Serialize>(
        old: &K,
        new: &K,
        subresource: Option<&'static str>,
    ) -> Option<Self> {
        let (old, after) = (serde_json::to_value(old).ok()?, serde_json::to_value(new).ok()?);
        let patch = difference(&old, &after)?;
        let target = Target { kind: K::KIND, key: Key::of(new.meta()) };
        Some(Self { verb: Verb::Patch { target, subresource, patch }, success: None, failure: None })
    }

    /// Makes a patch fail with a conflict if the object is no longer the one that was looked at.
    pub(crate) fn guarded_by(mut self, version: Option<&str>) -> Self {
        if let (Verb::Patch { patch, .. }, Some(version)) = (&mut self.verb, version) {
            patch["metadata"]["resourceVersion"] = Value::from(version);
        }
        self
    }

    pub(crate) fn on_success(mut self, note: Note) -> Self {
        self.success = Some(note);
        self
    }

    pub(crate) fn on_failure(mut self, note: Note) -> Self {
        self.failure = Some(note);
        self
    }
}

impl From<Verb> for Action {
    fn from(verb: Verb) -> Self {
        Self { verb, success: None, failure: None }
    }
}

/// The merge patch (RFC 7396) from `old` to `new`. Lists are replaced whole.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    if old == new {
        return None;
    }
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return Some(new.clone()) };
    let removed =
        old.keys().filter(|field| !new.contains_key(*field)).map(|field| (field.clone(), Value::Null));
    let changed = new.iter().filter_map(|(field, value)| match old.get(field) {
        Some(before) => Some((field.clone(), difference(before, value)?)),
        None => Some((field.clone(), value.clone())),
    });
    Some(Value::Object(removed.chain(changed).collect()))
}

/// The verbs of a plan by a short name: what the tables of unit tests compare.
#[cfg(test)]
pub(crate) fn summary(plan: &Plan) -> Vec<String> {
    plan.actions
        .iter()
        .map(|action| match &action.verb {
            Verb::Create(object) => format!("create {:?} {}", object.kind(), shown_name(object)),
            Verb::Replace(object) => format!("replace {:?} {}", object.kind(), shown_name(object)),
            Verb::Patch { target, subresource, patch } => {
                format!("patch {:?} {}{} {patch}", target.kind, target.key.name, shown(*subresource))
            }
            Verb::Delete { target, .. } => format!("delete {:?} {}", target.kind, target.key.name),
            Verb::Bind { pod, node, .. } => format!("bind {} to {node}", pod.key.name),
            Verb::EmptyNamespace { name } => format!("empty {name}"),
            Verb::Collect { target, .. } | Verb::CollectPod { pod: target, .. } => {
                format!("collect {:?} {}", target.kind, target.key.name)
            }
        })
        .collect()
}

#[cfg(test)]
fn shown_name(object: &Object) -> String {
    let meta = object.meta();
    meta.name.clone().or_else(|| meta.generate_name.clone()).unwrap_or_default()
}

#[cfg(test)]
fn shown(subresource: Option<&str>) -> String {
    subresource.map(|name| format!("/{name}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_is_a_merge_patch() {
        for (old, new, patch) in [
            (json!({"a": 1}), json!({"a": 1}), None),
            (json!({"a": 1, "b": 2}), json!({"b": 2}), Some(json!({"a": null}))),
            (json!({"s": {"x": 1, "y": 2}}), json!({"s": {"x": 3, "y": 2}}), Some(json!({"s": {"x": 3}}))),
            (json!({"l": [1, 2]}), json!({"l": [2]}), Some(json!({"l": [2]}))),
            (json!({}), json!({"n": {"m": 0}}), Some(json!({"n": {"m": 0}}))),
        ] {
            assert_eq!(difference(&old, &new), patch, "{old} -> {new}");
        }
    }
}
