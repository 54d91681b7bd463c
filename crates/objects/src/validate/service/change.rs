//! What may not change in a Service (`validateUpgradeDowngradeClusterIPs` and its like).

use super::{is_headless, policy};
use crate::status::FieldError;
use crate::validate::{list, text};
use serde_json::Value;

pub(in crate::validate) fn change(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = cluster_ips(old, new);
    errors.extend(families(old, new));
    let (before, after) = (&old["spec"], &new["spec"]);
    let balanced = |spec: &Value| text(spec, "type") == "LoadBalancer";
    if balanced(before) && balanced(after) && before["loadBalancerClass"] != after["loadBalancerClass"] {
        let value = after["loadBalancerClass"].clone();
        errors.push(FieldError::invalid("spec.loadBalancerClass", value, "may not change once set"));
    }
    errors.extend(policy::class(after));
    let checked = policy::needs_health_check(before) && policy::needs_health_check(after);
    if checked && before["healthCheckNodePort"] != after["healthCheckNodePort"] {
        errors.push(FieldError::forbidden("spec.healthCheckNodePort", "field is immutable"));
    }
    errors
}

fn crosses_external_name(old: &Value, new: &Value) -> bool {
    [old, new].into_iter().any(|service| text(&service["spec"], "type") == "ExternalName")
}

fn cluster_ips(old: &Value, new: &Value) -> Vec<FieldError> {
    if crosses_external_name(old, new) || (is_headless(old) && is_headless(new)) {
        return Vec::new();
    }
    let (before, after) = (list(&old["spec"], "clusterIPs"), list(&new["spec"], "clusterIPs"));
    let all = || new["spec"]["clusterIPs"].as_array().cloned().map_or(Value::Array(Vec::new()), Value::Array);
    let complaint =
        |index: usize, detail: &str| FieldError::invalid(format!("spec.clusterIPs[{index}]"), all(), detail);
    let mut errors = Vec::new();
    if before.len() == after.len() {
        let changed = before.iter().zip(after).enumerate().filter(|(_, (old, new))| old != new);
        return changed.map(|(index, _)| complaint(index, "may not change once set")).collect();
    }
    if after.is_empty() {
        errors.push(complaint(0, "primary clusterIP can not be unset"));
    }
    if let (Some(first), Some(now)) = (before.first(), after.first())
        && first != now
    {
        errors.push(complaint(0, "may not change once set"));
    }
    if before.len() > after.len() && after.len() == 1 {
        errors.extend(released(new, "secondary clusterIP"));
    }
    errors
}

fn families(old: &Value, new: &Value) -> Vec<FieldError> {
    if crosses_external_name(old, new) || is_headless(old) || is_headless(new) {
        return Vec::new();
    }
    let (before, after) = (list(&old["spec"], "ipFamilies"), list(&new["spec"], "ipFamilies"));
    let complaint =
        |detail: &str| FieldError::invalid("spec.ipFamilies[0]", new["spec"]["ipFamilies"].clone(), detail);
    let mut errors = Vec::new();
    if before.len() == after.len() {
        let changed = before.iter().zip(after).filter(|(old, new)| old != new);
        return changed.map(|_| complaint("may not change once set")).collect();
    }
    if let (Some(first), Some(now)) = (before.first(), after.first())
        && first != now
    {
        errors.push(complaint("may not change once set"));
    }
    if before.len() > after.len() && after.len() == 1 {
        errors.extend(released(new, "secondary ipFamily"));
    }
    errors
}

fn released(new: &Value, what: &str) -> Option<FieldError> {
    let policy = &new["spec"]["ipFamilyPolicy"];
    let detail = format!("must be set to 'SingleStack' when releasing the {what}");
    (policy != "SingleStack").then(|| FieldError::invalid("spec.ipFamilyPolicy", policy.clone(), detail))
}
