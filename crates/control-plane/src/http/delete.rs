//! DELETE: at once, or first marked and then held by finalizers and by the pod's grace period.
//!
//! Dependents are the garbage collector's: a policy of Foreground or Orphan only becomes a finalizer for it to act on.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use objects::resource::{DeletionReply, Resource};
use objects::status::{FieldError, Status};
use serde_json::{Value, json};

use super::query::Query;
use super::read::Matcher;
use super::route::Target;
use super::{Api, events, strategy, write};
use crate::admission::Admission;
use crate::metadata;
use crate::store::{Key, Transaction};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// Seconds that a pod gets without asking for any.
const DEFAULT_GRACE: i64 = 30;

/// `DeleteOptions`, from the body or the query.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Options {
    grace_period_seconds: Option<i64>,
    propagation_policy: Option<String>,
    orphan_dependents: Option<bool>,
    preconditions: Preconditions,
    dry_run: Vec<String>,
}

#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Preconditions {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl Options {
    /// The body wins over the query, as upstream has it.
    pub(super) fn read(json: &Bytes, query: &Query) -> Result<Self, Status> {
        let mut options: Self = if json.iter().all(u8::is_ascii_whitespace) {
            Self {
                grace_period_seconds: query.grace_period_seconds,
                propagation_policy: query.propagation_policy.clone(),
                orphan_dependents: query.orphan_dependents,
                ..Self::default()
            }
        } else {
            serde_json::from_slice(json).map_err(|e| {
                Status::bad_request(format!("couldn't get version/kind; json parse error: {e}"))
            })?
        };
        if query.dry_run {
            options.dry_run = vec!["All".to_owned()];
        }
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), Status> {
        let Some(policy) = self.propagation_policy.as_deref() else { return Ok(()) };
        let error = if self.orphan_dependents.is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            FieldError::invalid("propagationPolicy", policy, why)
        } else if matches!(policy, "Background" | "Foreground" | "Orphan") {
            return Ok(());
        } else {
            let mut error = FieldError::not_supported("propagationPolicy", policy, &[]);
            error.detail = "supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"".to_owned();
            error
        };
        Err(Status::invalid_options("DeleteOptions", &[error]))
    }

    fn is_dry_run(&self) -> bool {
        !self.dry_run.is_empty()
    }
}

/// What became of an object.
pub(super) enum Deleted {
    /// Marked; somebody must release it.
    Pending(Value),
    /// Gone; as it was last.
    Gone(Value),
}

impl Deleted {
    /// What a DELETE of it answers with.
    pub(super) fn reply(self, resource: &Resource, name: &str) -> Value {
        match self {
            Self::Gone(last) if resource.deletion == DeletionReply::Status => {
                Status::deleted(resource, name, last["metadata"]["uid"].as_str().unwrap_or_default())
            }
            Self::Pending(object) | Self::Gone(object) => events::from_stored(resource, object),
        }
    }
}

/// Deletes one object.
pub(super) async fn one(api: &Api, target: &Target, options: Options) -> Result<Value, Status> {
    let (admission, target) = (api.admission.clone(), target.clone());
    let deleted = api.store.write(move |transaction| {
        let deleted = delete(transaction, &admission, &target, target.name(), &options)?;
        if options.is_dry_run() {
            transaction.discard();
        }
        Ok(deleted.reply(target.resource, target.name()))
    });
    deleted.await
}

/// Deletes what the selectors match; the answer is the list of it.
pub(super) async fn collection(
    api: &Api,
    target: &Target,
    matcher: Matcher,
    options: Options,
) -> Result<Vec<Value>, Status> {
    let (admission, target, store) = (api.admission.clone(), target.clone(), api.store.clone());
    let deleted = api.store.write(move |transaction| {
        let (objects, _) = store.list(&write::collection_prefix(&target));
        let mut deleted = Vec::new();
        for object in objects.iter().filter_map(|stored| matcher.decode_matching(stored)) {
            let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
            let target = Target { namespace: Some(text("namespace")), ..target.clone() };
            delete(transaction, &admission, &target, &text("name"), &options)?;
            deleted.push(events::from_stored(target.resource, object));
        }
        if options.is_dry_run() {
            transaction.discard();
        }
        Ok(deleted)
    });
    deleted.await
}

fn delete(
    transaction: &mut Transaction<'_>,
    admission: &Admission,
    target: &Target,
    name: &str,
    options: &Options,
) -> Result<Deleted, Status> {
    let resource = target.resource;
    let key = Key::new(resource, target.namespace(), name);
    let old = transaction.value(&key).ok_or_else(|| Status::not_found(resource, name))?;
    check(resource, name, &options.preconditions, &old)?;
    let mut new = old.clone();
    set_finalizers(options, &mut new);
    mark(resource, options, &old, &mut new);
    if strategy::is_released(resource, &new) {
        admission.delete(transaction, resource, &old, true)?;
        // Only a pod tells in its last state that it was to go.
        let mut last = if resource.kind == "Pod" { new } else { old };
        transaction.delete(&key, &mut last);
        return Ok(Deleted::Gone(last));
    }
    admission.delete(transaction, resource, &old, false)?;
    if new != old {
        transaction.put(&key, &mut new);
    }
    Ok(Deleted::Pending(new))
}

fn check(resource: &Resource, name: &str, wanted: &Preconditions, object: &Value) -> Result<(), Status> {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    if let Some(uid) = wanted.uid.as_ref().filter(|uid| **uid != text("uid")) {
        let why = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            text("uid")
        );
        return Err(Status::precondition(resource, name, &why));
    }
    if let Some(revision) = wanted.resource_version.as_ref().filter(|r| **r != text("resourceVersion")) {
        let why = format!(
            "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). \
             The object might have been modified",
            text("resourceVersion")
        );
        return Err(Status::precondition(resource, name, &why));
    }
    Ok(())
}

/// The policy as the finalizer that the garbage collector acts on.
fn set_finalizers(options: &Options, object: &mut Value) {
    let wanted = match (options.propagation_policy.as_deref(), options.orphan_dependents) {
        (Some("Foreground"), _) => Some(FOREGROUND),
        (Some("Orphan"), _) | (None, Some(true)) => Some(ORPHAN),
        (Some(_), _) | (None, Some(false)) => None,
        (None, None) => return,
    };
    let metadata = metadata::of(object);
    let old = metadata.get("finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut finalizers: Vec<Value> =
        old.into_iter().filter(|f| !matches!(f.as_str(), Some(FOREGROUND | ORPHAN))).collect();
    finalizers.extend(wanted.map(|f| json!(f)));
    if finalizers.is_empty() {
        metadata.shift_remove("finalizers");
    } else {
        metadata.insert("finalizers".to_owned(), Value::Array(finalizers));
    }
}

/// Writes when the object will go. A second deletion can only shorten the time.
fn mark(resource: &Resource, options: &Options, old: &Value, new: &mut Value) {
    let grace = if resource.kind == "Pod" { pod_grace(options, old) } else { 0 };
    let metadata = &old["metadata"];
    let before = metadata["deletionGracePeriodSeconds"].as_i64();
    let deadline = metadata["deletionTimestamp"].as_str().and_then(|t| t.parse::<Timestamp>().ok());
    let when = match (deadline, before) {
        (Some(_), Some(before)) if grace >= before => return,
        (Some(deadline), Some(before)) => deadline - SignedDuration::from_secs(before - grace),
        (Some(_), None) => return,
        (None, _) => Timestamp::now() + SignedDuration::from_secs(grace),
    };
    let first = deadline.is_none() && resource.generation;
    let counted = first.then(|| metadata["generation"].as_i64().unwrap_or(0) + 1);
    let metadata = metadata::of(new);
    metadata.insert("deletionTimestamp".to_owned(), json!(metadata::at(when)));
    if resource.kind != "Namespace" {
        metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(grace));
    }
    if let Some(generation) = counted {
        metadata.insert("generation".to_owned(), json!(generation));
    }
    if resource.kind == "Namespace" {
        new["status"]["phase"] = json!("Terminating");
    }
}

/// A pod that runs nowhere has nothing to finish.
fn pod_grace(options: &Options, pod: &Value) -> i64 {
    let unscheduled = pod["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let finished = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if unscheduled || finished {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    // Less than nothing counts as one second, as upstream has it.
    let asked = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
    asked.or(own).unwrap_or(DEFAULT_GRACE)
}
