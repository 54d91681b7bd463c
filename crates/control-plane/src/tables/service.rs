//! Services.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Source, joined, labels, list, number, or, text};

pub(super) fn cells(source: &Source<'_>) -> Vec<Value> {
    let spec = source.spec();
    let cluster_ip = list(spec, "clusterIPs").first().and_then(Value::as_str).unwrap_or("<none>");
    let ports: Vec<String> = list(spec, "ports").iter().map(port).collect();
    vec![
        source.name(),
        json!(text(spec, "type")),
        json!(cluster_ip),
        json!(external(spec, source.status())),
        json!(joined(ports.iter().map(String::as_str))),
        source.age(),
        json!(labels(&spec["selector"])),
    ]
}

fn port(port: &Value) -> String {
    let (inner, protocol) = (number(port, "port"), text(port, "protocol"));
    match number(port, "nodePort") {
        outer if outer > 0 => format!("{inner}:{outer}/{protocol}"),
        _ => format!("{inner}/{protocol}"),
    }
}

fn external(spec: &Value, status: &Value) -> String {
    let ips = list(spec, "externalIPs").iter().filter_map(Value::as_str);
    match text(spec, "type") {
        "ClusterIP" | "NodePort" => joined(ips),
        "LoadBalancer" => {
            let balanced: BTreeSet<&str> = list(&status["loadBalancer"], "ingress")
                .iter()
                .map(|ingress| or(text(ingress, "ip"), text(ingress, "hostname")))
                .filter(|address| !address.is_empty())
                .collect();
            let all: Vec<&str> = balanced.into_iter().chain(ips).collect();
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => text(spec, "externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}
