//! What may change in a pod: images, a shorter deadline, more tolerations.

use super::{create, list};
use crate::status::FieldError;
use serde_json::{Map, Value};

const MUTABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                       `spec.tolerations` (only additions to existing tolerations),\
                       `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(in crate::validate) fn change(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors: Vec<FieldError> =
        create(new).into_iter().filter(|error| error.field != "spec.ephemeralContainers").collect();
    let (before, after) = (&old["spec"], &new["spec"]);
    for containers in ["containers", "initContainers"] {
        let field = format!("spec.{containers}");
        if list(before, containers).len() != list(after, containers).len() {
            errors.push(FieldError::forbidden(field, "pod updates may not add or remove containers"));
            return errors;
        }
        errors.extend(images(&field, list(after, containers)));
    }
    errors.extend(deadline(before, after));
    let tolerations = list(after, "tolerations");
    if list(before, "tolerations").iter().any(|toleration| !tolerations.contains(toleration)) {
        let detail = "existing toleration can not be modified except its tolerationSeconds";
        errors.push(FieldError::forbidden("spec.tolerations", detail));
    }
    let changed = changed(before, after);
    if !changed.is_empty() {
        // Upstream appends a diff; the names of the fields say as much.
        let detail =
            format!("pod updates may not change fields other than {MUTABLE}\n{}", changed.join("\n"));
        errors.push(FieldError::forbidden("spec", detail));
    }
    errors
}

fn images(field: &str, containers: &[Value]) -> Vec<FieldError> {
    let padded = containers.iter().enumerate().filter_map(|(index, container)| {
        let image = container["image"].as_str()?;
        (image.trim() != image).then_some((index, image))
    });
    padded
        .map(|(index, image)| {
            let detail = "must not have leading or trailing whitespace";
            FieldError::invalid(format!("{field}[{index}].image"), image, detail)
        })
        .collect()
}

fn deadline(before: &Value, after: &Value) -> Option<FieldError> {
    const FIELD: &str = "spec.activeDeadlineSeconds";
    let seconds = |spec: &Value| spec["activeDeadlineSeconds"].as_i64();
    match (seconds(before), seconds(after)) {
        (Some(_), None) => Some(FieldError::invalid(
            FIELD,
            Value::Null,
            "must not update from a positive integer to nil value",
        )),
        (Some(old), Some(new)) if new > old => {
            Some(FieldError::invalid(FIELD, new, "must be less than or equal to previous value"))
        }
        _ => None,
    }
}

/// Fields of the spec that differ though they may not.
fn changed(before: &Value, after: &Value) -> Vec<String> {
    let (before, after) = (immutable(before), immutable(after));
    let names = before.keys().chain(after.keys().filter(|name| !before.contains_key(*name)));
    let mut changed: Vec<String> = names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| format!("spec.{name}"))
        .collect();
    changed.sort_unstable();
    changed
}

/// The spec without what may change. A node is set by binding, gates are lifted by those who set them.
fn immutable(spec: &Value) -> Map<String, Value> {
    let mut fields = spec.as_object().cloned().unwrap_or_default();
    for name in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        fields.shift_remove(name);
    }
    for containers in ["containers", "initContainers"] {
        for container in fields.get_mut(containers).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.shift_remove("image");
            }
        }
    }
    fields
}
