//! Defaults of pods, their containers, probes and volumes.
//!
//! What applies to pods only (not to templates) is in [`pod`]; [`spec`] is shared with Deployments and their like.

use super::{given, items, object, put};
use serde_json::{Map, Value, json};

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];
const PROBES: [&str; 3] = ["livenessProbe", "readinessProbe", "startupProbe"];
/// Mode of files in volumes made from objects, in decimal: 0644.
const FILE_MODE: u32 = 0o644;

pub(super) fn pod(fields: &mut Map<String, Value>) {
    let Some(pod_spec) = object(fields, "spec") else { return };
    let grace = pod_spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace.is_some_and(|seconds| seconds < 0) {
        pod_spec.insert("terminationGracePeriodSeconds".to_owned(), json!(1));
    }
    for list in ["containers", "initContainers"] {
        items(pod_spec, list).for_each(requests_from_limits);
    }
    put(pod_spec, "enableServiceLinks", true);
    if pod_spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        host_ports(pod_spec);
    }
    spec(pod_spec);
    if let Some(status) = given(fields, "status") {
        addresses(status);
    }
}

fn requests_from_limits(container: &mut Map<String, Value>) {
    let Some(resources) = given(container, "resources") else { return };
    let Some(Value::Object(limits)) = resources.get("limits").cloned() else { return };
    if let Some(requests) = object(resources, "requests") {
        limits.into_iter().for_each(|(name, amount)| put(requests, &name, amount));
        requests.sort_keys();
    }
}

fn host_ports(spec: &mut Map<String, Value>) {
    for list in ["containers", "initContainers"] {
        for container in items(spec, list) {
            for port in items(container, "ports") {
                let number = port.get("containerPort").cloned().unwrap_or_default();
                put(port, "hostPort", number);
            }
        }
    }
}

/// Keeps the first of `podIPs` and `podIP` the same; `podIP` wins.
fn addresses(status: &mut Map<String, Value>) {
    let single = status.get("podIP").and_then(Value::as_str).unwrap_or_default().to_owned();
    let first = status.get("podIPs").and_then(|ips| ips[0]["ip"].as_str()).map(str::to_owned);
    match first {
        Some(first) if single.is_empty() => put(status, "podIP", first),
        first if !single.is_empty() && first.as_deref() != Some(&single) => {
            status.insert("podIPs".to_owned(), json!([{"ip": single}]));
        }
        _ => {}
    }
}

/// What a pod and a pod template share.
pub(super) fn spec(spec: &mut Map<String, Value>) {
    if let Some(old_name) = spec.get("serviceAccount").cloned() {
        put(spec, "serviceAccountName", old_name);
    }
    if let Some(name) = spec.get("serviceAccountName").cloned() {
        spec.insert("serviceAccount".to_owned(), name);
    }
    put(spec, "dnsPolicy", "ClusterFirst");
    put(spec, "restartPolicy", "Always");
    put(spec, "securityContext", json!({}));
    put(spec, "terminationGracePeriodSeconds", 30);
    put(spec, "schedulerName", "default-scheduler");
    for list in CONTAINER_LISTS {
        items(spec, list).for_each(container);
    }
    items(spec, "volumes").for_each(volume);
}

fn container(container: &mut Map<String, Value>) {
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = if tag(image) == "latest" { "Always" } else { "IfNotPresent" };
    put(container, "imagePullPolicy", policy);
    put(container, "terminationMessagePath", "/dev/termination-log");
    put(container, "terminationMessagePolicy", "File");
    for port in items(container, "ports") {
        put(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(reference) = given(variable, "valueFrom").and_then(|from| given(from, "fieldRef")) {
            put(reference, "apiVersion", "v1");
        }
    }
    for name in PROBES {
        if let Some(probe_fields) = given(container, name) {
            probe(probe_fields);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = given(container, "lifecycle").and_then(|cycle| given(cycle, hook)) {
            http_get(handler);
        }
    }
}

/// The tag that an image name ends up with: `latest` if it names neither tag nor digest. A name that cannot be read has
/// none, so that validation reports it.
fn tag(image: &str) -> &str {
    if image.contains('@') {
        return "";
    }
    let last = image.rsplit('/').next().unwrap_or_default();
    match last.split_once(':') {
        Some((_, tag)) => tag,
        None if image.is_empty() || image.chars().any(|c| c.is_ascii_uppercase() || c.is_whitespace()) => "",
        None => "latest",
    }
}

fn probe(probe: &mut Map<String, Value>) {
    for (name, value) in
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        put(probe, name, value);
    }
    http_get(probe);
    if let Some(grpc) = given(probe, "grpc") {
        grpc.entry("service").or_insert_with(|| Value::from(""));
    }
}

fn http_get(handler: &mut Map<String, Value>) {
    if let Some(action) = given(handler, "httpGet") {
        put(action, "path", "/");
        put(action, "scheme", "HTTP");
    }
}

fn volume(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = given(volume, source) {
            put(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(host_path) = given(volume, "hostPath") {
        host_path.entry("type").or_insert_with(|| Value::from(""));
    }
    if let Some(downward) = given(volume, "downwardAPI") {
        items(downward, "items").for_each(field_reference);
    }
    if let Some(projected) = given(volume, "projected") {
        items(projected, "sources").for_each(projection);
    }
}

fn projection(source: &mut Map<String, Value>) {
    if let Some(token) = given(source, "serviceAccountToken") {
        put(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = given(source, "downwardAPI") {
        items(downward, "items").for_each(field_reference);
    }
}

fn field_reference(item: &mut Map<String, Value>) {
    if let Some(reference) = given(item, "fieldRef") {
        put(reference, "apiVersion", "v1");
    }
}
