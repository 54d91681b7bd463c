//! Rules of containers, init containers among them.

use super::{environment, probe, resources, security, volume};
use crate::status::FieldError;
use crate::validate::{invalid, list, names, one_of, text};
use serde_json::{Value, json};
use std::collections::HashSet;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];

pub(super) fn containers(field: &str, spec: &Value) -> Vec<FieldError> {
    let regular = list(spec, "containers");
    let path = format!("{field}.containers");
    let mut errors = Vec::new();
    let mut names: HashSet<&str> = HashSet::new();
    if regular.is_empty() {
        errors.push(FieldError::required(path.clone(), ""));
    }
    for (index, container) in regular.iter().enumerate() {
        let at = format!("{path}[{index}]");
        errors.extend(common(&at, container, spec));
        errors.extend(unique_name(&at, container, &mut names));
        errors.extend(probe::all(&at, container, spec));
        if let Some(policy) = container["restartPolicy"].as_str() {
            errors.extend(one_of(&format!("{at}.restartPolicy"), policy, &RESTART_POLICIES));
        }
    }
    errors.extend(host_port_conflicts(&path, regular));
    let path = format!("{field}.initContainers");
    for (index, container) in list(spec, "initContainers").iter().enumerate() {
        errors.extend(init(&format!("{path}[{index}]"), container, spec, &mut names));
    }
    errors
}

fn init<'v>(at: &str, container: &'v Value, spec: &Value, names: &mut HashSet<&'v str>) -> Vec<FieldError> {
    let mut errors = common(at, container, spec);
    if let Some(policy) = container["restartPolicy"].as_str() {
        errors.extend(one_of(&format!("{at}.restartPolicy"), policy, &RESTART_POLICIES));
    }
    errors.extend(unique_name(at, container, names));
    if container["restartPolicy"] == "Always" {
        errors.extend(probe::all(at, container, spec));
        return errors;
    }
    let set = ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"];
    errors.extend(set.into_iter().filter(|name| !container[*name].is_null()).map(|name| {
        FieldError::forbidden(
            format!("{at}.{name}"),
            "may not be set for init containers without restartPolicy=Always",
        )
    }));
    errors
}

fn unique_name<'v>(at: &str, container: &'v Value, names: &mut HashSet<&'v str>) -> Option<FieldError> {
    let name = text(container, "name");
    let repeated = !name.is_empty() && !names.insert(name);
    repeated.then(|| FieldError::duplicate(format!("{at}.name"), name))
}

fn common(at: &str, container: &Value, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let name = text(container, "name");
    if name.is_empty() {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    } else {
        errors.extend(invalid(&format!("{at}.name"), &json!(name), names::dns_1123_label(name)));
    }
    if text(container, "image").is_empty() {
        errors.push(FieldError::required(format!("{at}.image"), ""));
    }
    let policies = ["File", "FallbackToLogsOnError"];
    errors.extend(one_of(
        &format!("{at}.terminationMessagePolicy"),
        text(container, "terminationMessagePolicy"),
        &policies,
    ));
    errors.extend(ports(&format!("{at}.ports"), container));
    errors.extend(environment::variables(at, container));
    errors.extend(volume::mounts(&format!("{at}.volumeMounts"), container, spec));
    let policies = ["Always", "IfNotPresent", "Never"];
    errors.extend(one_of(&format!("{at}.imagePullPolicy"), text(container, "imagePullPolicy"), &policies));
    errors.extend(resources::resources(&format!("{at}.resources"), &container["resources"]));
    errors.extend(security(&format!("{at}.securityContext"), &container["securityContext"]));
    errors
}

fn ports(field: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut seen = HashSet::new();
    for (index, port) in list(container, "ports").iter().enumerate() {
        let at = format!("{field}[{index}]");
        let name = text(port, "name");
        if !name.is_empty() {
            let complaints = names::port_name(name);
            if complaints.is_empty() && !seen.insert(name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), name));
            }
            errors.extend(invalid(&format!("{at}.name"), &json!(name), complaints));
        }
        let inner = port["containerPort"].as_i64().unwrap_or_default();
        if inner == 0 {
            errors.push(FieldError::required(format!("{at}.containerPort"), ""));
        } else {
            errors.extend(invalid(&format!("{at}.containerPort"), &json!(inner), names::port_number(inner)));
        }
        if let Some(outer) = port["hostPort"].as_i64().filter(|outer| *outer != 0) {
            errors.extend(invalid(&format!("{at}.hostPort"), &json!(outer), names::port_number(outer)));
        }
        errors.extend(one_of(&format!("{at}.protocol"), text(port, "protocol"), &PROTOCOLS));
    }
    errors
}

/// Ports of the host, across containers; printed as upstream does: `TCP//80`.
fn host_port_conflicts(field: &str, containers: &[Value]) -> Vec<FieldError> {
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for (port_index, port) in list(container, "ports").iter().enumerate() {
            let Some(number) = port["hostPort"].as_i64().filter(|number| *number != 0) else { continue };
            let key = format!("{}/{}/{number}", text(port, "protocol"), text(port, "hostIP"));
            if !seen.insert(key.clone()) {
                errors.push(FieldError::duplicate(
                    format!("{field}[{index}].ports[{port_index}].hostPort"),
                    key,
                ));
            }
        }
    }
    errors
}
