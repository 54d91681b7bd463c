//! Rules of Services, in the order in which upstream checks them (`ValidateServiceCreate`, `ValidateServiceUpdate`).

mod addresses;
mod change;
mod policy;
mod ports;

use super::{entries, list, metadata, names, one_of, text};
use crate::status::FieldError;
use serde_json::Value;

pub use addresses::addresses;
pub(super) use addresses::{address, special};
pub(super) use change::change;
pub(super) use policy::{cidr, status};
pub(super) use ports::number_or_name;

const TYPES: [&str; 4] = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

/// True for a Service without a virtual address: its DNS name leads to the pods themselves.
pub fn is_headless(service: &Value) -> bool {
    matches!(list(&service["spec"], "clusterIPs"), [only] if only == "None")
}

pub(super) fn service(service: &Value) -> Vec<FieldError> {
    let spec = &service["spec"];
    let mut errors: Vec<FieldError> = topology_annotations(service).into_iter().collect();
    let kind = text(spec, "type");
    if list(spec, "ports").is_empty() && !is_headless(service) && kind != "ExternalName" {
        errors.push(FieldError::required("spec.ports", ""));
    }
    errors.extend(type_specific(service, kind));
    errors.extend(ports::ports(spec));
    errors.extend(metadata::labels("spec.selector", &spec["selector"]));
    errors.extend(affinity(spec));
    errors.extend(addresses(service));
    errors.extend(addresses::external(spec));
    errors.extend(one_of("spec.type", kind, &TYPES));
    errors.extend(ports::node_ports(spec, kind));
    errors.extend(ports::duplicates(spec));
    errors.extend(policy::load_balancer(service, kind));
    errors.extend(policy::traffic(spec, kind));
    errors
}

fn topology_annotations(service: &Value) -> Option<FieldError> {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const MODE: &str = "service.kubernetes.io/topology-mode";
    let find = |name: &str| entries(&service["metadata"]["annotations"]).find(|(key, _)| *key == name);
    let ((_, hints), (_, mode)) = (find(HINTS)?, find(MODE)?);
    let field = format!("metadata.annotations[{MODE}]");
    let detail = format!("must match annotations[{HINTS}] when both are specified");
    (hints != mode).then(|| FieldError::invalid(field, mode, detail))
}

fn type_specific(service: &Value, kind: &str) -> Vec<FieldError> {
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(service) => {
            let detail = format!("may not be set to 'None' for {kind} services");
            vec![FieldError::invalid("spec.clusterIPs[0]", "None", detail)]
        }
        "ExternalName" => external_name(&service["spec"]),
        _ => Vec::new(),
    }
}

fn external_name(spec: &Value) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> = ["clusterIPs", "ipFamilies", "ipFamilyPolicy"]
        .into_iter()
        .filter(|name| !spec[*name].is_null() && spec[*name].as_array().is_none_or(|items| !items.is_empty()))
        .map(|name| FieldError::forbidden(format!("spec.{name}"), "may not be set for ExternalName services"))
        .collect();
    let target = text(spec, "externalName");
    let name = target.strip_suffix('.').unwrap_or(target);
    if name.is_empty() {
        errors.push(FieldError::required("spec.externalName", ""));
    } else {
        errors.extend(super::invalid(
            "spec.externalName",
            &Value::from(name),
            names::dns_1123_subdomain(name),
        ));
    }
    errors
}

/// Seconds for which affinity may last: a day.
const AFFINITY_MAX: i64 = 86400;

fn affinity(spec: &Value) -> Vec<FieldError> {
    let affinity = text(spec, "sessionAffinity");
    let config = &spec["sessionAffinityConfig"];
    let mut errors: Vec<FieldError> =
        one_of("spec.sessionAffinity", affinity, &["ClientIP", "None"]).into_iter().collect();
    match affinity {
        "ClientIP" => errors.extend(affinity_timeout(config)),
        "None" if !config.is_null() => errors.push(FieldError::forbidden(
            "spec.sessionAffinityConfig",
            "must not be set when session affinity is None",
        )),
        _ => {}
    }
    errors
}

fn affinity_timeout(config: &Value) -> Option<FieldError> {
    const FIELD: &str = "spec.sessionAffinityConfig";
    if config.is_null() {
        return Some(FieldError::required(FIELD, "when session affinity type is ClientIP"));
    }
    if config["clientIP"].is_null() {
        return Some(FieldError::required(
            format!("{FIELD}.clientIP"),
            "when session affinity type is ClientIP",
        ));
    }
    let field = format!("{FIELD}.clientIP.timeoutSeconds");
    let Some(seconds) = config["clientIP"]["timeoutSeconds"].as_i64() else {
        return Some(FieldError::required(field, "when session affinity type is ClientIP"));
    };
    let detail = format!("must be greater than 0 and less than {AFFINITY_MAX}");
    (!(1..=AFFINITY_MAX).contains(&seconds)).then(|| FieldError::invalid(field, seconds, detail))
}
