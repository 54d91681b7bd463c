//! Rules of a Service's traffic policies and load balancer.

use crate::status::FieldError;
use crate::validate::{entries, invalid, list, names, one_of, text};
use serde_json::{Value, json};

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";

/// True if traffic from outside of the cluster can reach it.
pub(super) fn externally_accessible(spec: &Value) -> bool {
    match text(spec, "type") {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !list(spec, "externalIPs").is_empty(),
        _ => false,
    }
}

/// True if a load balancer asks nodes for their local endpoints' health.
pub(super) fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

pub(super) fn load_balancer(service: &Value, kind: &str) -> Vec<FieldError> {
    let spec = &service["spec"];
    let balanced = kind == "LoadBalancer";
    let mut errors = source_ranges(service, balanced);
    let allocate = &spec["allocateLoadBalancerNodePorts"];
    if !allocate.is_null() && !balanced {
        errors.push(FieldError::forbidden("spec.allocateLoadBalancerNodePorts", ONLY_BALANCED));
    }
    if allocate.is_null() && balanced {
        errors.push(FieldError::required("allocateLoadBalancerNodePorts", ""));
    }
    errors.extend(class(spec));
    errors
}

fn source_ranges(service: &Value, balanced: bool) -> Vec<FieldError> {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let ranges = list(&service["spec"], "loadBalancerSourceRanges");
    let mut errors = Vec::new();
    let refuse = |field: &str| FieldError::forbidden(field, ONLY_BALANCED);
    if !ranges.is_empty() {
        let field = "spec.LoadBalancerSourceRanges";
        errors.extend((!balanced).then(|| refuse(field)));
        for (index, range) in ranges.iter().enumerate() {
            errors.extend(cidr(&format!("{field}[{index}]"), range.as_str().unwrap_or_default()));
        }
    } else if let Some((_, value)) =
        entries(&service["metadata"]["annotations"]).find(|(key, _)| *key == ANNOTATION)
    {
        let field = format!("metadata.annotations[{ANNOTATION}]");
        errors.extend((!balanced).then(|| refuse(&field)));
        if !value.trim().is_empty() {
            errors.extend(value.split(',').filter_map(|range| cidr(&field, range)));
        }
    }
    errors
}

/// A complaint about a text that is no subnet.
pub(in crate::validate) fn cidr(field: &str, range: &str) -> Option<FieldError> {
    let range = range.trim();
    let detail = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    range.parse::<ipnet::IpNet>().is_err().then(|| FieldError::invalid(field, range, detail))
}

pub(super) fn class(spec: &Value) -> Vec<FieldError> {
    let class = &spec["loadBalancerClass"];
    match class.as_str() {
        None => Vec::new(),
        Some(name) if text(spec, "type") == "LoadBalancer" => {
            invalid("spec.loadBalancerClass", class, names::qualified_name(name))
        }
        Some(_) => vec![FieldError::forbidden("spec.loadBalancerClass", ONLY_BALANCED)],
    }
}

pub(super) fn traffic(spec: &Value, kind: &str) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = external(spec).into_iter().collect();
    errors.extend(health_check(spec));
    let internal = text(spec, "internalTrafficPolicy");
    if !internal.is_empty() || matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
        errors.extend(one_of("spec.internalTrafficPolicy", internal, &["Cluster", "Local"]));
    }
    if let Some(distribution) = spec["trafficDistribution"].as_str() {
        // Upstream lists these in its own order, not sorted.
        let supported = ["PreferClose", "PreferSameZone", "PreferSameNode"];
        errors.extend(
            (!supported.contains(&distribution))
                .then(|| FieldError::not_supported("spec.trafficDistribution", distribution, &supported)),
        );
    }
    errors
}

fn external(spec: &Value) -> Option<FieldError> {
    const FIELD: &str = "spec.externalTrafficPolicy";
    let policy = text(spec, "externalTrafficPolicy");
    if externally_accessible(spec) {
        return one_of(FIELD, policy, &["Cluster", "Local"]);
    }
    let detail = "may only be set for externally-accessible services";
    (!policy.is_empty()).then(|| FieldError::invalid(FIELD, policy, detail))
}

fn health_check(spec: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.healthCheckNodePort";
    let port = spec["healthCheckNodePort"].as_i64().unwrap_or_default();
    match (needs_health_check(spec), port) {
        (false, 0) => Vec::new(),
        (true, 0) => vec![FieldError::required(FIELD, "")],
        (true, _) => invalid(FIELD, &json!(port), names::port_number(port)),
        (false, _) => {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            vec![FieldError::invalid(FIELD, port, detail)]
        }
    }
}

/// Rules of the status: addresses only for load balancers, each with its mode.
pub(in crate::validate) fn status(service: &Value) -> Vec<FieldError> {
    const FIELD: &str = "status.loadBalancer.ingress";
    let ingress = list(&service["status"]["loadBalancer"], "ingress");
    if text(&service["spec"], "type") != "LoadBalancer" {
        let refusal = FieldError::forbidden(FIELD, "may only be used when `spec.type` is 'LoadBalancer'");
        return if ingress.is_empty() { Vec::new() } else { vec![refusal] };
    }
    let mut errors = Vec::new();
    for (index, entry) in ingress.iter().enumerate() {
        let (ip, mode) = (text(entry, "ip"), text(entry, "ipMode"));
        if !ip.is_empty() && ip.parse::<std::net::IpAddr>().is_err() {
            let detail = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
            errors.push(FieldError::invalid(format!("{FIELD}[{index}].ip"), ip, detail));
        }
        let field = format!("{FIELD}[{index}].ipMode");
        if mode.is_empty() != ip.is_empty() {
            errors.push(if ip.is_empty() {
                FieldError::forbidden(field, "may not be specified when `ip` is not set")
            } else {
                FieldError::required(field, "must be specified when `ip` is set")
            });
        } else if !mode.is_empty() && !["Proxy", "VIP"].contains(&mode) {
            errors.push(FieldError::not_supported(field, mode, &["Proxy", "VIP"]));
        }
    }
    errors
}
