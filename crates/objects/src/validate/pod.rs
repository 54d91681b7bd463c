//! Rules of pods and pod templates (`ValidatePodSpec`, `ValidatePodUpdate`): what people meet. Affinity, Windows, device claims
//! and exotic volumes are stored as given.

mod change;
mod container;
mod environment;
mod probe;
mod resources;
mod volume;

use super::{invalid, list, metadata, names, one_of, text};
use crate::status::FieldError;
use serde_json::{Value, json};

pub(super) use change::change;

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];
const DNS_POLICIES: [&str; 4] = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];

/// A new pod.
pub(super) fn create(pod: &Value) -> Vec<FieldError> {
    let mut errors = spec("spec", &pod["spec"], true);
    if !list(&pod["spec"], "ephemeralContainers").is_empty() {
        errors.push(FieldError::forbidden("spec.ephemeralContainers", "cannot be set on create"));
    }
    let gated = !list(&pod["spec"], "schedulingGates").is_empty();
    if gated && !text(&pod["spec"], "nodeName").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        errors.push(FieldError::forbidden("spec.nodeName", detail));
    }
    errors
}

/// A template in a Deployment or its like.
pub(super) fn template(field: &str, template: &Value) -> Vec<FieldError> {
    let about = &template["metadata"];
    let mut errors = metadata::labels(&format!("{field}.labels"), &about["labels"]);
    errors.extend(metadata::annotations(&format!("{field}.annotations"), &about["annotations"]));
    errors.extend(spec(&format!("{field}.spec"), &template["spec"], false));
    errors
}

/// A pod's spec; `is_pod` is false in templates.
pub(super) fn spec(field: &str, spec: &Value, is_pod: bool) -> Vec<FieldError> {
    let mut errors = volume::volumes(&format!("{field}.volumes"), spec);
    errors.extend(container::containers(field, spec));
    if spec["hostNetwork"] == true {
        errors.extend(host_ports(field, spec, is_pod));
    }
    errors.extend(one_of(&format!("{field}.restartPolicy"), text(spec, "restartPolicy"), &RESTART_POLICIES));
    errors.extend(one_of(&format!("{field}.dnsPolicy"), text(spec, "dnsPolicy"), &DNS_POLICIES));
    errors.extend(metadata::labels(&format!("{field}.nodeSelector"), &spec["nodeSelector"]));
    errors.extend(security(&format!("{field}.securityContext"), &spec["securityContext"]));
    errors.extend(dns(&format!("{field}.dnsConfig"), spec));
    errors.extend(gates(field, spec));
    errors.extend(spread(&format!("{field}.topologySpreadConstraints"), spec));
    errors.extend(named(field, spec));
    errors.extend(tolerations(&format!("{field}.tolerations"), spec));
    errors.extend(host_aliases(&format!("{field}.hostAliases"), spec));
    errors
}

fn host_ports(field: &str, spec: &Value, is_pod: bool) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, container) in list(spec, "containers").iter().enumerate() {
        for (port_index, port) in list(container, "ports").iter().enumerate() {
            let number = |name: &str| port[name].as_i64().unwrap_or_default();
            let (outer, inner) = (number("hostPort"), number("containerPort"));
            if (is_pod || outer != 0) && outer != inner {
                let path = format!("{field}.containers[{index}].ports[{port_index}].hostPort");
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(path, outer, detail));
            }
        }
    }
    errors
}

/// Numbers of users and groups.
fn security(field: &str, context: &Value) -> Vec<FieldError> {
    ["fsGroup", "runAsUser", "runAsGroup"]
        .into_iter()
        .filter_map(|name| Some((name, context[name].as_i64()?)))
        .filter(|(_, id)| !(0..=i64::from(i32::MAX)).contains(id))
        .map(|(name, id)| {
            FieldError::invalid(format!("{field}.{name}"), id, "must be between 0 and 2147483647, inclusive")
        })
        .collect()
}

fn dns(field: &str, spec: &Value) -> Vec<FieldError> {
    let config = &spec["dnsConfig"];
    let servers = list(config, "nameservers");
    if text(spec, "dnsPolicy") == "None" && servers.is_empty() {
        return vec![if config.is_null() {
            FieldError::required(field, "must provide `dnsConfig` when `dnsPolicy` is None")
        } else {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            FieldError::required(format!("{field}.nameservers"), detail)
        }];
    }
    let mut errors = Vec::new();
    if servers.len() > 3 {
        let detail = "must not have more than 3 nameservers";
        errors.push(FieldError::invalid(
            format!("{field}.nameservers"),
            config["nameservers"].clone(),
            detail,
        ));
    }
    for (index, server) in servers.iter().enumerate() {
        errors.extend(super::service::address(&format!("{field}.nameservers[{index}]"), server));
    }
    if list(config, "searches").len() > 32 {
        let detail = "must not have more than 32 search paths";
        errors.push(FieldError::invalid(format!("{field}.searches"), config["searches"].clone(), detail));
    }
    for (index, option) in list(config, "options").iter().enumerate() {
        if text(option, "name").is_empty() {
            errors.push(FieldError::required(format!("{field}.options[{index}]"), "must not be empty"));
        }
    }
    errors
}

fn gates(field: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        let path = format!("{field}.readinessGates[{index}].conditionType");
        errors.extend(invalid(&path, &json!(kind), names::qualified_name(kind)));
    }
    for (index, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        let path = format!("{field}.schedulingGates[{index}]");
        errors.extend(invalid(&path, &json!(name), names::qualified_name(name)));
    }
    errors
}

fn spread(field: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, constraint) in list(spec, "topologySpreadConstraints").iter().enumerate() {
        let path = |name: &str| format!("{field}[{index}].{name}");
        let skew = constraint["maxSkew"].as_i64().unwrap_or_default();
        if skew <= 0 {
            errors.push(FieldError::invalid(path("maxSkew"), skew, "must be greater than zero"));
        }
        if text(constraint, "topologyKey").is_empty() {
            errors.push(FieldError::required(path("topologyKey"), "can not be empty"));
        }
        let action = text(constraint, "whenUnsatisfiable");
        let supported = ["DoNotSchedule", "ScheduleAnyway"];
        if !supported.contains(&action) {
            errors.push(FieldError::not_supported(path("whenUnsatisfiable"), action, &supported));
        }
    }
    errors
}

/// Fields that hold one name.
fn named(field: &str, spec: &Value) -> Vec<FieldError> {
    type Rule = fn(&str) -> Vec<String>;
    let rules: [(&str, Rule); 5] = [
        ("hostname", names::dns_1123_label),
        ("subdomain", names::dns_1123_label),
        ("serviceAccountName", names::dns_1123_subdomain),
        ("nodeName", names::dns_1123_subdomain),
        ("priorityClassName", names::dns_1123_subdomain),
    ];
    let mut errors = Vec::new();
    for (name, rule) in rules {
        let value = text(spec, name);
        if !value.is_empty() {
            errors.extend(invalid(&format!("{field}.{name}"), &json!(value), rule(value)));
        }
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64()
        && !(1..=i64::from(i32::MAX)).contains(&seconds)
    {
        let detail = "must be between 1 and 2147483647, inclusive";
        errors.push(FieldError::invalid(format!("{field}.activeDeadlineSeconds"), seconds, detail));
    }
    errors
}

fn tolerations(field: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = |name: &str| format!("{field}[{index}].{name}");
        let [key, operator, value, effect] =
            ["key", "operator", "value", "effect"].map(|name| text(toleration, name));
        if !key.is_empty() {
            errors.extend(invalid(&path("key"), &json!(key), names::qualified_name(key)));
        } else if operator != "Exists" {
            let detail =
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
            errors.push(FieldError::invalid(path("operator"), operator, detail));
        }
        if !toleration["tolerationSeconds"].is_null() && effect != "NoExecute" {
            let detail = "effect must be 'NoExecute' when `tolerationSeconds` is set";
            errors.push(FieldError::invalid(path("effect"), effect, detail));
        }
        match operator {
            "" | "Equal" => {
                let complaints = names::label_value(value);
                if !complaints.is_empty() {
                    errors.push(FieldError::invalid(path("operator"), value, complaints.join(";")));
                }
            }
            "Exists" if value.is_empty() => {}
            "Exists" => {
                errors.push(FieldError::invalid(
                    path("operator"),
                    value,
                    "value must be empty when `operator` is 'Exists'",
                ));
            }
            other => errors.push(FieldError::not_supported(path("operator"), other, &["Equal", "Exists"])),
        }
        let supported = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
        if !effect.is_empty() && !supported.contains(&effect) {
            errors.push(FieldError::not_supported(path("effect"), effect, &supported));
        }
    }
    errors
}

fn host_aliases(field: &str, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, alias) in list(spec, "hostAliases").iter().enumerate() {
        errors.extend(super::service::address(&format!("{field}[{index}].ip"), &alias["ip"]));
        for (name_index, name) in list(alias, "hostnames").iter().enumerate() {
            let path = format!("{field}[{index}].hostnames[{name_index}]");
            errors.extend(invalid(&path, name, names::dns_1123_subdomain(name.as_str().unwrap_or_default())));
        }
    }
    errors
}
