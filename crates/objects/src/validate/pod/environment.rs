//! Rules of environment variables and where their values come from.

use crate::status::FieldError;
use crate::validate::{invalid, list, names, text};
use serde_json::{Value, json};

const FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

pub(super) fn variables(at: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, variable) in list(container, "env").iter().enumerate() {
        let field = format!("{at}.env[{index}]");
        let name = text(variable, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{field}.name"), ""));
        } else {
            errors.extend(invalid(&format!("{field}.name"), &json!(name), names::variable_name(name)));
        }
        if !variable["valueFrom"].is_null() {
            errors.extend(source(&format!("{field}.valueFrom"), variable));
        }
    }
    errors.extend(groups(&format!("{at}.envFrom"), container));
    errors
}

fn source(field: &str, variable: &Value) -> Vec<FieldError> {
    let from = &variable["valueFrom"];
    let given: Vec<&str> = SOURCES.into_iter().filter(|name| !from[*name].is_null()).collect();
    let mut errors = Vec::new();
    if !from["fieldRef"].is_null() {
        errors.extend(field_reference(&format!("{field}.fieldRef"), &from["fieldRef"]));
    }
    for name in ["configMapKeyRef", "secretKeyRef"] {
        if !from[name].is_null() {
            errors.extend(key_reference(&format!("{field}.{name}"), &from[name]));
        }
    }
    let complaint = if given.is_empty() {
        "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
    } else if !text(variable, "value").is_empty() {
        "may not be specified when `value` is not empty"
    } else if given.len() > 1 {
        "may not have more than one field specified at a time"
    } else {
        return errors;
    };
    errors.push(FieldError::invalid(field, "", complaint));
    errors
}

fn field_reference(field: &str, reference: &Value) -> Vec<FieldError> {
    let path = text(reference, "fieldPath");
    let at = format!("{field}.fieldPath");
    if path.is_empty() {
        return vec![FieldError::required(at, "")];
    }
    if let Some((map, key)) = subscript(path) {
        let key = if map == "metadata.annotations" { key.to_lowercase() } else { key.to_owned() };
        return match map {
            "metadata.annotations" | "metadata.labels" => {
                invalid(field, &json!(key), names::qualified_name(&key))
            }
            other => vec![FieldError::invalid(field, other, "does not support subscript")],
        };
    }
    if ["metadata.labels", "metadata.annotations", "status.phase"].contains(&path) {
        return vec![FieldError::not_supported(at, path, &FIELDS)];
    }
    let detail = format!("error converting fieldPath: field label not supported: {path}");
    if FIELDS.contains(&path) { Vec::new() } else { vec![FieldError::invalid(at, path, detail)] }
}

/// `metadata.labels['a']` as map and key.
fn subscript(path: &str) -> Option<(&str, &str)> {
    path.strip_suffix("']")?.split_once("['")
}

fn key_reference(field: &str, reference: &Value) -> Vec<FieldError> {
    let (name, key) = (text(reference, "name"), text(reference, "key"));
    let mut errors = invalid(&format!("{field}.name"), &json!(name), names::dns_1123_subdomain(name));
    if key.is_empty() {
        errors.push(FieldError::required(format!("{field}.key"), ""));
    } else {
        errors.extend(invalid(&format!("{field}.key"), &json!(key), names::config_key(key)));
    }
    errors
}

fn groups(field: &str, container: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, group) in list(container, "envFrom").iter().enumerate() {
        let prefix = text(group, "prefix");
        if !prefix.is_empty() {
            let at = format!("{field}[{index}].prefix");
            errors.extend(invalid(&at, &json!(prefix), names::variable_name(prefix)));
        }
        let mut given = 0;
        for source in ["configMapRef", "secretRef"].into_iter().filter(|name| !group[*name].is_null()) {
            given += 1;
            let (at, name) = (format!("{field}[{index}].{source}.name"), text(&group[source], "name"));
            if name.is_empty() {
                errors.push(FieldError::required(at, ""));
            } else {
                errors.extend(invalid(&at, &json!(name), names::dns_1123_subdomain(name)));
            }
        }
        let complaint = match given {
            0 => "must specify one of: `configMapRef` or `secretRef`",
            1 => continue,
            _ => "may not have more than one field specified at a time",
        };
        errors.push(FieldError::invalid(field, "", complaint));
    }
    errors
}
