//! A deployment, with its replica sets.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    container,
    metadata::{annotations, labels, list, plain, text, time, tolerations},
    volumes,
};
use crate::commands::{
    api::{JSON, Session, resource::Resource},
    failure::Failure,
    listing::{self, Selection},
    pod_choice,
};

/// Reads the replica sets that the deployment owns, oldest first.
pub(super) async fn replica_sets(session: &Session, deployment: &Value) -> Result<Vec<Value>, Failure> {
    let metadata = &deployment["metadata"];
    let resource = Resource::fixed("apps", "ReplicaSet", "replicasets", true);
    let selection = Selection {
        labels: pod_choice::selector(deployment).unwrap_or_default(),
        ..Selection::within(text(&metadata["namespace"]))
    };
    let mut sets = listing::items(listing::list(session, &resource, &selection, JSON).await?, &resource);
    sets.retain(|set| {
        list(&set["metadata"]["ownerReferences"]).iter().any(|owner| owner["uid"] == metadata["uid"])
    });
    sets.sort_by_key(|set| text(&set["metadata"]["creationTimestamp"]).to_owned());
    Ok(sets)
}

/// The description as lines with tabs.
pub(super) fn describe(deployment: &Value, replica_sets: &[Value]) -> String {
    let (metadata, spec) = (&deployment["metadata"], &deployment["spec"]);
    let mut out = String::new();
    let _ = writeln!(out, "Name:\t{}", text(&metadata["name"]));
    let _ = writeln!(out, "Namespace:\t{}", text(&metadata["namespace"]));
    let _ = writeln!(out, "CreationTimestamp:\t{}", time(&metadata["creationTimestamp"]));
    labels(&mut out, "Labels", &metadata["labels"]);
    annotations(&mut out, "Annotations", &metadata["annotations"]);
    let _ = writeln!(out, "Selector:\t{}", pod_choice::selector(deployment).unwrap_or_default());
    replicas(&mut out, deployment);
    template(&mut out, &spec["template"]);
    conditions(&mut out, &deployment["status"]["conditions"]);
    sets(&mut out, &spec["template"], replica_sets);
    out
}

fn replicas(out: &mut String, deployment: &Value) {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let number = |key: &str| status[key].as_i64().unwrap_or(0);
    let _ = writeln!(
        out,
        "Replicas:\t{} desired | {} updated | {} total | {} available | {} unavailable",
        spec["replicas"].as_i64().unwrap_or(1),
        number("updatedReplicas"),
        number("replicas"),
        number("availableReplicas"),
        number("unavailableReplicas"),
    );
    let _ = writeln!(out, "StrategyType:\t{}", text(&spec["strategy"]["type"]));
    let _ = writeln!(out, "MinReadySeconds:\t{}", spec["minReadySeconds"].as_i64().unwrap_or(0));
    let rolling = &spec["strategy"]["rollingUpdate"];
    if !rolling.is_null() {
        let (unavailable, surge) = (plain(&rolling["maxUnavailable"]), plain(&rolling["maxSurge"]));
        let _ = writeln!(out, "RollingUpdateStrategy:\t{unavailable} max unavailable, {surge} max surge");
    }
}

fn template(out: &mut String, template: &Value) {
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    out.push_str("Pod Template:\n");
    labels(out, "  Labels", &metadata["labels"]);
    if metadata["annotations"].as_object().is_some_and(|annotations| !annotations.is_empty()) {
        annotations(out, "  Annotations", &metadata["annotations"]);
    }
    if let Some(account) = spec["serviceAccountName"].as_str().filter(|account| !account.is_empty()) {
        let _ = writeln!(out, "  Service Account:\t{account}");
    }
    let none = &Value::Null;
    if !list(&spec["initContainers"]).is_empty() {
        container::describe_all(out, "Init Containers", &spec["initContainers"], none, none, "  ");
    }
    container::describe_all(out, "Containers", &spec["containers"], none, none, "  ");
    volumes::describe_all(out, &spec["volumes"], "  ");
    if let Some(class) = spec["priorityClassName"].as_str().filter(|class| !class.is_empty()) {
        let _ = writeln!(out, "  Priority Class Name:\t{class}");
    }
    labels(out, "  Node-Selectors", &spec["nodeSelector"]);
    tolerations(out, "  Tolerations", &spec["tolerations"]);
}

fn conditions(out: &mut String, conditions: &Value) {
    if list(conditions).is_empty() {
        return;
    }
    out.push_str("Conditions:\n  Type\tStatus\tReason\n  ----\t------\t------\n");
    for condition in list(conditions) {
        let cell = |key: &str| text(&condition[key]);
        let _ = writeln!(out, "  {} \t{}\t{}", cell("type"), cell("status"), cell("reason"));
    }
}

fn sets(out: &mut String, template: &Value, replica_sets: &[Value]) {
    if replica_sets.is_empty() {
        return;
    }
    let new = replica_sets.iter().position(|set| same_template(&set["spec"]["template"], template));
    let told = |wanted: bool| {
        let chosen =
            replica_sets.iter().enumerate().filter(|(position, _)| (Some(*position) == new) == wanted);
        let texts: Vec<String> = chosen.map(|(_, set)| replica_set(set)).collect();
        super::metadata::or_none(&texts.join(", ")).to_owned()
    };
    let _ = writeln!(out, "OldReplicaSets:\t{}", told(false));
    let _ = writeln!(out, "NewReplicaSet:\t{}", told(true));
}

/// Whether two templates are the same but for the hash that a replica set adds to its labels.
fn same_template(left: &Value, right: &Value) -> bool {
    let without_hash = |template: &Value| {
        let mut template = template.clone();
        if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
            labels.remove("pod-template-hash");
        }
        template
    };
    without_hash(left) == without_hash(right)
}

fn replica_set(set: &Value) -> String {
    format!(
        "{} ({}/{} replicas created)",
        text(&set["metadata"]["name"]),
        set["status"]["replicas"].as_i64().unwrap_or(0),
        set["spec"]["replicas"].as_i64().unwrap_or(0)
    )
}
