//! Names, labels and annotations by which ReplicaSets belong to a template and a revision of a Deployment.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::controllers::object::controller_reference;

/// Revision of a Deployment and of its ReplicaSets: what `kubectl rollout history` shows.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions that a ReplicaSet had before it became current again.
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// `spec.replicas` of the Deployment when the ReplicaSet was last scaled.
pub(super) const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
/// The same with maxSurge.
pub(super) const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
/// Label by which the pods of two templates are told apart.
const HASH_LABEL: &str = "pod-template-hash";

/// Annotations of a Deployment that its ReplicaSets do not get.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    "deprecated.deployment.rollback.to",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
];

/// A number in an annotation.
pub(super) fn number(set: &ReplicaSet, annotation: &str) -> Option<i32> {
    set.metadata.annotations.as_ref()?.get(annotation)?.parse().ok()
}

/// True if the ReplicaSet was made from this template.
pub(super) fn has_template(set: &ReplicaSet, template: &PodTemplateSpec) -> bool {
    let without_hash = |template: &PodTemplateSpec| {
        let mut template = template.clone();
        let meta = template.metadata.get_or_insert_default();
        let labels = meta.labels.get_or_insert_default();
        labels.remove(HASH_LABEL);
        meta.creation_timestamp = None;
        template
    };
    let own = set.spec.template.as_ref();
    own.is_some_and(|own| without_hash(own) == without_hash(template))
}

/// The revision of the current ReplicaSet: its own if that is the highest, else the next one.
pub(super) fn next(current: Option<&ReplicaSet>, old: &[Arc<ReplicaSet>]) -> String {
    let highest_old = old.iter().filter_map(|set| number(set, REVISION)).max().unwrap_or(0);
    let own = current.and_then(|set| number(set, REVISION)).filter(|own| *own > highest_old);
    own.unwrap_or(highest_old + 1).to_string()
}

/// The ReplicaSet that starts a new template.
pub(super) fn new_set(
    deployment: &Deployment,
    spec: &DeploymentSpec,
    revision: &str,
    replicas: i32,
    max_replicas: i32,
) -> ReplicaSet {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = hash(&spec.template, collisions);
    let hash_label = |labels: Option<BTreeMap<String, String>>| {
        let mut labels = labels.unwrap_or_default();
        labels.insert(HASH_LABEL.to_owned(), hash.clone());
        Some(labels)
    };
    let mut template = spec.template.clone();
    let meta = template.metadata.get_or_insert_default();
    meta.labels = hash_label(meta.labels.take());
    let template_labels = meta.labels.clone();
    let mut selector = spec.selector.clone();
    selector.match_labels = hash_label(selector.match_labels);
    let mut set = ReplicaSet::default();
    set.metadata.namespace = deployment.metadata.namespace.clone();
    set.metadata.name = Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default()));
    set.metadata.labels = template_labels;
    set.metadata.owner_references = Some(vec![controller_reference(deployment)]);
    set.spec = ReplicaSetSpec {
        replicas: Some(replicas),
        min_ready_seconds: spec.min_ready_seconds,
        selector,
        template: Some(template),
    };
    updated(&set, deployment, revision, max_replicas)
}

/// The current ReplicaSet with the annotations that it should have.
pub(super) fn updated(
    set: &ReplicaSet,
    deployment: &Deployment,
    revision: &str,
    max_replicas: i32,
) -> ReplicaSet {
    let desired = deployment.spec.replicas.unwrap_or(1);
    let mut set = sized(set, desired, max_replicas);
    let annotations = set.metadata.annotations.get_or_insert_default();
    for (key, value) in deployment.metadata.annotations.iter().flatten() {
        if !OWN.contains(&key.as_str()) {
            annotations.insert(key.clone(), value.clone());
        }
    }
    let before = annotations.insert(REVISION.to_owned(), revision.to_owned());
    if let Some(before) = before.filter(|before| before != revision) {
        let history = annotations.entry(REVISION_HISTORY.to_owned()).or_default();
        *history = if history.is_empty() { before } else { format!("{history},{before}") };
    }
    set.spec.min_ready_seconds = deployment.spec.min_ready_seconds;
    set
}

/// The ReplicaSet with the annotations that record a scaling.
pub(super) fn sized(set: &ReplicaSet, desired: i32, max_replicas: i32) -> ReplicaSet {
    let mut set = set.clone();
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(DESIRED_REPLICAS.to_owned(), desired.to_string());
    annotations.insert(MAX_REPLICAS.to_owned(), max_replicas.to_string());
    set
}

/// FNV-1a of the template's canonical JSON, written with letters and digits that make no words (as Kubernetes
/// does).
fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut bytes = serde_json::to_vec(template).unwrap_or_default();
    if collisions > 0 {
        bytes.extend(collisions.to_le_bytes());
    }
    let fnv = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(16_777_619);
    let hash = bytes.iter().fold(2_166_136_261, fnv);
    let letter = |digit: u8| char::from(LETTERS[usize::from(digit) % LETTERS.len()]);
    hash.to_string().bytes().map(letter).collect()
}
