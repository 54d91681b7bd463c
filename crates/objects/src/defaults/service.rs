//! Defaults of Services (`SetDefaults_Service`).

use super::{items, object, put, text};
use serde_json::{Map, Value, json};

/// Seconds for which a client sticks to an endpoint unless the Service says otherwise.
const AFFINITY_TIMEOUT: u32 = 10800;

pub(super) fn service(fields: &mut Map<String, Value>) {
    let Some(spec) = object(fields, "spec") else { return };
    affinity(spec);
    put(spec, "type", "ClusterIP");
    for port in items(spec, "ports") {
        put(port, "protocol", "TCP");
        target_port(port);
    }
    let kind = text(spec, "type").to_owned();
    let external_ips = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|ips| !ips.is_empty());
    let balanced = kind == "LoadBalancer";
    if balanced || kind == "NodePort" || (kind == "ClusterIP" && external_ips) {
        put(spec, "externalTrafficPolicy", "Cluster");
    }
    if balanced || kind == "NodePort" || kind == "ClusterIP" {
        put(spec, "internalTrafficPolicy", "Cluster");
    }
    if balanced {
        put(spec, "allocateLoadBalancerNodePorts", true);
        if let Some(status) = object(fields, "status") {
            ip_modes(status);
        }
    }
}

fn affinity(spec: &mut Map<String, Value>) {
    put(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.shift_remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let timeout =
                spec.get("sessionAffinityConfig").and_then(|c| c.pointer("/clientIP/timeoutSeconds"));
            if timeout.is_none_or(Value::is_null) {
                let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_TIMEOUT}});
                spec.insert("sessionAffinityConfig".to_owned(), config);
            }
        }
        _ => {}
    }
}

fn target_port(port: &mut Map<String, Value>) {
    let unset = match port.get("targetPort") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => name.is_empty(),
        Some(number) => number.as_i64() == Some(0),
    };
    if unset {
        let number = port.get("port").cloned().unwrap_or_else(|| json!(0));
        port.insert("targetPort".to_owned(), number);
    }
}

fn ip_modes(status: &mut Map<String, Value>) {
    let Some(balancer) = object(status, "loadBalancer") else { return };
    for ingress in items(balancer, "ingress").filter(|ingress| ingress.contains_key("ip")) {
        put(ingress, "ipMode", "VIP");
    }
}
