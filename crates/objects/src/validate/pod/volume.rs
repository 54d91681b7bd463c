//! Rules of volumes and where they are mounted.

use crate::status::FieldError;
use crate::validate::{invalid, list, names, text};
use serde_json::{Value, json};
use std::collections::HashSet;

pub(super) fn volumes(field: &str, spec: &Value) -> Vec<FieldError> {
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let at = format!("{field}[{index}]");
        errors.extend(source(&at, volume));
        let name = text(volume, "name");
        if name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        } else {
            errors.extend(invalid(&format!("{at}.name"), &json!(name), names::dns_1123_label(name)));
        }
        if !name.is_empty() && !seen.insert(name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), name));
        }
    }
    errors
}

fn source(at: &str, volume: &Value) -> Vec<FieldError> {
    let required = [("configMap", "name"), ("secret", "secretName"), ("hostPath", "path")];
    let mut errors = Vec::new();
    let given = volume.as_object().into_iter().flatten().map(|(kind, _)| kind.as_str());
    let mut kinds: Vec<&str> = given.filter(|kind| *kind != "name").collect();
    // Upstream looks at this one first.
    kinds.sort_by_key(|kind| *kind != "emptyDir");
    for (order, kind) in kinds.into_iter().enumerate() {
        if order > 0 {
            errors.push(FieldError::forbidden(
                format!("{at}.{kind}"),
                "may not specify more than 1 volume type",
            ));
        } else if let Some((_, name)) = required.into_iter().find(|(of, _)| *of == kind)
            && text(&volume[kind], name).is_empty()
        {
            errors.push(FieldError::required(format!("{at}.{kind}.{name}"), ""));
        }
    }
    errors
}

pub(super) fn mounts(field: &str, container: &Value, spec: &Value) -> Vec<FieldError> {
    let mut paths = HashSet::new();
    let mut errors = Vec::new();
    for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
        let at = format!("{field}[{index}]");
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        }
        if !list(spec, "volumes").iter().any(|volume| !name.is_empty() && text(volume, "name") == name) {
            errors.push(FieldError::not_found(format!("{at}.name"), name));
        }
        if path.is_empty() {
            errors.push(FieldError::required(format!("{at}.mountPath"), ""));
        }
        if !paths.insert(path) {
            errors.push(FieldError::invalid(format!("{at}.mountPath"), path, "must be unique"));
        }
        let below = text(mount, "subPath");
        if below.starts_with('/') {
            errors.push(FieldError::invalid(format!("{field}.subPath"), below, "must be a relative path"));
        }
        if below.split('/').any(|part| part == "..") {
            errors.push(FieldError::invalid(format!("{field}.subPath"), below, "must not contain '..'"));
        }
    }
    errors
}
