//! Defaults of the kinds that make pods from a template.

use super::{given, object, pod, put, text};
use serde_json::{Map, Value};

pub(super) fn deployment(fields: &mut Map<String, Value>) {
    let Some(spec) = object(fields, "spec") else { return };
    put(spec, "replicas", 1);
    if let Some(strategy) = object(spec, "strategy") {
        put(strategy, "type", "RollingUpdate");
        if text(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = object(strategy, "rollingUpdate")
        {
            put(rolling, "maxUnavailable", "25%");
            put(rolling, "maxSurge", "25%");
        }
    }
    put(spec, "revisionHistoryLimit", 10);
    put(spec, "progressDeadlineSeconds", 600);
    template(spec);
}

pub(super) fn replica_set(fields: &mut Map<String, Value>) {
    let Some(spec) = object(fields, "spec") else { return };
    put(spec, "replicas", 1);
    template(spec);
}

pub(super) fn replication_controller(fields: &mut Map<String, Value>) {
    let Some(spec) = object(fields, "spec") else { return };
    put(spec, "replicas", 1);
    template(spec);
    let labels = spec.get("template").and_then(|t| t.pointer("/metadata/labels")).cloned();
    if let Some(labels) = labels {
        put(spec, "selector", labels.clone());
        if let Some(metadata) = object(fields, "metadata") {
            put(metadata, "labels", labels);
        }
    }
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(pod_spec) = given(spec, "template").and_then(|template| object(template, "spec")) {
        pod::spec(pod_spec);
    }
}
