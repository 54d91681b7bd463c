//! `scale` and `binding`: other views of an object, with kinds of their own.

use bytes::Bytes;
use objects::resource::Subresource;
use objects::selector::LabelSelector;
use objects::status::{FieldError, Status};
use serde_json::{Value, json};

use super::patch::Patch;
use super::query::Query;
use super::route::Target;
use super::write::Outcome;
use super::{Api, decode, read, strategy, write};
use crate::metadata;
use crate::store;

/// The number of replicas of a workload, as `autoscaling/v1 Scale`.
pub(super) fn get_scale(api: &Api, target: &Target) -> Result<Value, Status> {
    Ok(scale_of(&store::decode(read::get(api, target)?.as_ref())))
}

fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let mut about = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = metadata.get(field) {
            about[field] = value.clone();
        }
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": about,
        "spec": {"replicas": object["spec"]["replicas"].as_i64().unwrap_or(0)},
        "status": {
            "replicas": object["status"]["replicas"].as_i64().unwrap_or(0),
            "selector": selector_text(&object["spec"]["selector"]),
        },
    })
}

fn selector_text(selector: &Value) -> String {
    let parsed = serde_json::from_value(selector.clone()).ok();
    parsed
        .and_then(|object| LabelSelector::from_object(&object).ok())
        .map(|s| s.to_string())
        .unwrap_or_default()
}

/// Replaces the scale.
pub(super) async fn update_scale(
    api: &Api,
    target: &Target,
    query: &Query,
    json: Bytes,
) -> Result<Outcome, Status> {
    let sub = target.subresource.expect("invariant: routed to a subresource");
    let (scale, warnings) = decode::of_subresource(sub, &json, query.field_validation)?;
    change_scale(api, target, query, move |_| Ok(scale), warnings).await
}

/// Patches the scale.
pub(super) async fn patch_scale(
    api: &Api,
    target: &Target,
    query: &Query,
    patch: Patch,
) -> Result<Outcome, Status> {
    let sub = target.subresource.expect("invariant: routed to a subresource");
    let validation = query.field_validation;
    let make = move |scale: &Value| {
        let patched = patch.apply((sub.group, sub.kind), scale)?;
        Ok(decode::of_subresource(sub, &Bytes::from(patched.to_string()), validation)?.0)
    };
    change_scale(api, target, query, make, Vec::new()).await
}

async fn change_scale<F>(
    api: &Api,
    target: &Target,
    query: &Query,
    make: F,
    warnings: Vec<String>,
) -> Result<Outcome, Status>
where
    F: FnOnce(&Value) -> Result<Value, Status> + Send + 'static,
{
    let (sub, name) =
        (target.subresource.expect("invariant: routed to a subresource"), target.name().to_owned());
    // The scale is a view: it is the workload's spec that changes.
    let parent = Target { subresource: None, ..target.clone() };
    let outcome = write::change(api, &parent, query.dry_run, move |old| {
        let scale = make(&scale_of(old))?;
        check_scale(sub, &name, &scale)?;
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(scale["spec"]["replicas"].as_i64().unwrap_or(0));
        let revision = scale["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !revision.is_empty() {
            metadata::of(&mut new).insert("resourceVersion".to_owned(), json!(revision));
        }
        Ok((new, warnings))
    });
    let outcome = outcome.await?;
    Ok(Outcome { object: scale_of(&outcome.object), ..outcome })
}

fn check_scale(sub: &Subresource, name: &str, scale: &Value) -> Result<(), Status> {
    strategy::check_name(name, scale)?;
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas < 0 {
        let error = FieldError::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
        return Err(Status::invalid_kind(sub.group, sub.kind, name, &error));
    }
    Ok(())
}

/// Assigns a pod to a node: what a scheduler does.
pub(super) async fn bind(api: &Api, target: &Target, query: &Query, json: Bytes) -> Result<Value, Status> {
    let sub = target.subresource.expect("invariant: routed to a subresource");
    let (binding, _) = decode::of_subresource(sub, &json, query.field_validation)?;
    let node = binding["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        return Err(Status::bad_request("target.name: Required value"));
    }
    let parent = Target { subresource: None, ..target.clone() };
    let (resource, name) = (target.resource, target.name().to_owned());
    let bound = write::change_internally(api, &parent, query.dry_run, move |old| {
        let current = old["spec"]["nodeName"].as_str().unwrap_or_default();
        if !current.is_empty() {
            let why = format!("pod {name} is already assigned to node \"{current}\"");
            return Err(Status::subresource_conflict(resource, "binding", &name, &why));
        }
        if old["metadata"]["deletionTimestamp"].is_string() {
            let why = format!("pod {name} is being deleted, cannot be assigned to a host");
            return Err(Status::subresource_conflict(resource, "binding", &name, &why));
        }
        let mut new = old.clone();
        new["spec"]["nodeName"] = json!(node);
        set_scheduled(&mut new);
        Ok(new)
    });
    bound.await?;
    Ok(json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

/// The condition that tells that the pod has a node.
fn set_scheduled(pod: &mut Value) {
    let condition = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": metadata::now()});
    let conditions = &mut pod["status"]["conditions"];
    match conditions.as_array_mut() {
        Some(list) => {
            list.retain(|c| c["type"] != "PodScheduled");
            list.push(condition);
        }
        None => *conditions = json!([condition]),
    }
}
