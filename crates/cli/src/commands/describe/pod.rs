//! A pod.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    container,
    metadata::{annotations, labels, list, text, time, tolerations},
    volumes,
};
use crate::commands::age;

/// The description as lines with tabs.
pub(super) fn describe(pod: &Value) -> String {
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    let mut out = String::new();
    placement(&mut out, pod);
    labels(&mut out, "Labels", &metadata["labels"]);
    annotations(&mut out, "Annotations", &metadata["annotations"]);
    phase(&mut out, pod);
    addresses(&mut out, pod);
    if !list(&spec["initContainers"]).is_empty() {
        let statuses = &status["initContainerStatuses"];
        container::describe_all(&mut out, "Init Containers", &spec["initContainers"], statuses, pod, "");
    }
    container::describe_all(
        &mut out,
        "Containers",
        &spec["containers"],
        &status["containerStatuses"],
        pod,
        "",
    );
    if !list(&spec["ephemeralContainers"]).is_empty() {
        let statuses = &status["ephemeralContainerStatuses"];
        container::describe_all(
            &mut out,
            "Ephemeral Containers",
            &spec["ephemeralContainers"],
            statuses,
            pod,
            "",
        );
    }
    conditions(&mut out, pod);
    volumes::describe_all(&mut out, &spec["volumes"], "");
    let _ = writeln!(out, "QoS Class:\t{}", text(&status["qosClass"]));
    labels(&mut out, "Node-Selectors", &spec["nodeSelector"]);
    tolerations(&mut out, "Tolerations", &spec["tolerations"]);
    out
}

fn placement(out: &mut String, pod: &Value) {
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    let _ = writeln!(out, "Name:\t{}", text(&metadata["name"]));
    let _ = writeln!(out, "Namespace:\t{}", text(&metadata["namespace"]));
    if let Some(priority) = spec["priority"].as_i64() {
        let _ = writeln!(out, "Priority:\t{priority}");
    }
    let given = [
        ("Priority Class Name", "priorityClassName"),
        ("Runtime Class Name", "runtimeClassName"),
        ("Service Account", "serviceAccountName"),
    ];
    for (title, key) in given {
        if let Some(value) = spec[key].as_str().filter(|value| !value.is_empty()) {
            let _ = writeln!(out, "{title}:\t{value}");
        }
    }
    match text(&spec["nodeName"]) {
        "" => out.push_str("Node:\t<none>\n"),
        node => {
            let _ = writeln!(out, "Node:\t{node}/{}", text(&status["hostIP"]));
        }
    }
    if !status["startTime"].is_null() {
        let _ = writeln!(out, "Start Time:\t{}", time(&status["startTime"]));
    }
}

fn phase(out: &mut String, pod: &Value) {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    let phase = text(&status["phase"]);
    match metadata["deletionTimestamp"].as_str() {
        Some(deleted) if !matches!(phase, "Failed" | "Succeeded") => {
            let _ = writeln!(out, "Status:\tTerminating (lasts {})", age::since(deleted));
            let grace = metadata["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
            let _ = writeln!(out, "Termination Grace Period:\t{grace}s");
        }
        _ => {
            let _ = writeln!(out, "Status:\t{phase}");
        }
    }
    for (title, key) in [("Reason", "reason"), ("Message", "message")] {
        if let Some(value) = status[key].as_str().filter(|value| !value.is_empty()) {
            let _ = writeln!(out, "{title}:\t{value}");
        }
    }
    if let Some(profile) = pod["spec"]["securityContext"]["seccompProfile"]["type"].as_str() {
        let _ = writeln!(out, "SeccompProfile:\t{profile}");
    }
}

fn addresses(out: &mut String, pod: &Value) {
    let (metadata, status) = (&pod["metadata"], &pod["status"]);
    let _ = writeln!(out, "IP:\t{}", text(&status["podIP"]));
    if list(&status["podIPs"]).is_empty() {
        out.push_str("IPs:\t<none>\n");
    } else {
        out.push_str("IPs:\n");
        for address in list(&status["podIPs"]) {
            let _ = writeln!(out, "  IP:\t{}", text(&address["ip"]));
        }
    }
    let owners = list(&metadata["ownerReferences"]);
    if let Some(owner) = owners.iter().find(|owner| owner["controller"] == true) {
        let _ = writeln!(out, "Controlled By:\t{}/{}", text(&owner["kind"]), text(&owner["name"]));
    }
    if let Some(node) = status["nominatedNodeName"].as_str().filter(|node| !node.is_empty()) {
        let _ = writeln!(out, "NominatedNodeName:\t{node}");
    }
}

fn conditions(out: &mut String, pod: &Value) {
    let conditions = list(&pod["status"]["conditions"]);
    let gates = list(&pod["spec"]["readinessGates"]);
    if !gates.is_empty() {
        out.push_str("Readiness Gates:\n  Type\tStatus\n");
        for gate in gates {
            let found = conditions.iter().find(|condition| condition["type"] == gate["conditionType"]);
            let status = found.map_or("<none>", |condition| text(&condition["status"]));
            let _ = writeln!(out, "  {} \t{status} ", text(&gate["conditionType"]));
        }
    }
    if !conditions.is_empty() {
        out.push_str("Conditions:\n  Type\tStatus\n");
    }
    for condition in conditions {
        let _ = writeln!(out, "  {} \t{} ", text(&condition["type"]), text(&condition["status"]));
    }
}
