//! Rules of Deployments, ReplicaSets and ReplicationControllers.

use super::{entries, invalid, list, metadata, names, pod, text};
use crate::status::FieldError;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn not_negative(field: &str, value: &Value) -> Option<FieldError> {
    let number = value.as_i64().filter(|number| *number < 0)?;
    Some(FieldError::invalid(field, number, "must be greater than or equal to 0"))
}

pub(super) fn deployment(deployment: &Value) -> Vec<FieldError> {
    let spec = &deployment["spec"];
    let mut errors: Vec<FieldError> = not_negative("spec.replicas", &spec["replicas"]).into_iter().collect();
    errors.extend(selector_and_template(spec));
    errors.extend(strategy(&spec["strategy"]));
    errors.extend(not_negative("spec.minReadySeconds", &spec["minReadySeconds"]));
    errors.extend(not_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]));
    let deadline = &spec["progressDeadlineSeconds"];
    errors.extend(not_negative("spec.progressDeadlineSeconds", deadline));
    let ready = spec["minReadySeconds"].as_i64().unwrap_or_default();
    if let Some(seconds) = deadline.as_i64().filter(|seconds| *seconds <= ready) {
        let detail = "must be greater than minReadySeconds";
        errors.push(FieldError::invalid("spec.progressDeadlineSeconds", seconds, detail));
    }
    errors
}

pub(super) fn replica_set(set: &Value) -> Vec<FieldError> {
    let spec = &set["spec"];
    let mut errors: Vec<FieldError> = not_negative("spec.replicas", &spec["replicas"]).into_iter().collect();
    errors.extend(not_negative("spec.minReadySeconds", &spec["minReadySeconds"]));
    errors.extend(selector_and_template(spec));
    errors
}

/// Also of those that have a selector: it is immutable.
pub(super) fn change(old: &Value, new: &Value) -> Option<FieldError> {
    let (before, after) = (&old["spec"]["selector"], &new["spec"]["selector"]);
    (before != after).then(|| FieldError::invalid("spec.selector", after.clone(), "field is immutable"))
}

fn selector_and_template(spec: &Value) -> Vec<FieldError> {
    let selector = &spec["selector"];
    let mut errors = Vec::new();
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else {
        errors.extend(label_selector("spec.selector", selector));
        if entries(&selector["matchLabels"]).next().is_none() && list(selector, "matchExpressions").is_empty()
        {
            let detail = "empty selector is invalid for deployment";
            errors.push(FieldError::invalid("spec.selector", selector.clone(), detail));
        }
    }
    if errors.iter().any(|error| error.field.starts_with("spec.selector.")) {
        errors.push(FieldError::invalid("spec.selector", selector.clone(), "invalid label selector"));
        return errors;
    }
    errors.extend(template(spec));
    errors
}

fn label_selector(field: &str, selector: &Value) -> Vec<FieldError> {
    let mut errors = metadata::labels(&format!("{field}.matchLabels"), &selector["matchLabels"]);
    for (index, requirement) in list(selector, "matchExpressions").iter().enumerate() {
        let at = |name: &str| format!("{field}.matchExpressions[{index}].{name}");
        let (key, operator, values) =
            (text(requirement, "key"), text(requirement, "operator"), list(requirement, "values"));
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be specified when `operator` is 'In' or 'NotIn'";
                errors.push(FieldError::required(at("values"), detail));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(FieldError::forbidden(at("values"), detail));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(at("operator"), other, "not a valid selector operator")),
        }
        errors.extend(invalid(&at("key"), &json!(key), names::qualified_name(key)));
        for (value_index, value) in values.iter().enumerate() {
            let complaints = names::label_value(value.as_str().unwrap_or_default());
            errors.extend(invalid(&format!("{}[{value_index}]", at("values")), value, complaints));
        }
    }
    errors
}

fn template(spec: &Value) -> Vec<FieldError> {
    let (selector, template) = (&spec["selector"], &spec["template"]);
    let labels = &template["metadata"]["labels"];
    let given: BTreeMap<&str, &str> = entries(labels).collect();
    let mut errors = Vec::new();
    if !matches(selector, &given) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels.clone(), detail));
    }
    errors.extend(pod::template("spec.template", template));
    errors.extend(restarts(template, "ReplicaSet"));
    errors
}

fn restarts(template: &Value, owner: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let policy = text(&template["spec"], "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
    if !template["spec"]["activeDeadlineSeconds"].is_null() {
        let detail = format!("activeDeadlineSeconds in {owner} is not Supported");
        errors.push(FieldError::forbidden("spec.template.spec.activeDeadlineSeconds", detail));
    }
    errors
}

/// A selector without any requirement matches all; a missing one matches none, as upstream has it.
fn matches(selector: &Value, labels: &BTreeMap<&str, &str>) -> bool {
    let holds = |requirement: &Value| {
        let value = labels.get(text(requirement, "key"));
        let listed = value.is_some_and(|value| list(requirement, "values").iter().any(|one| one == value));
        match text(requirement, "operator") {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            _ => value.is_none(),
        }
    };
    !selector.is_null()
        && entries(&selector["matchLabels"]).all(|(key, value)| labels.get(key) == Some(&value))
        && list(selector, "matchExpressions").iter().all(holds)
}

fn strategy(strategy: &Value) -> Vec<FieldError> {
    const FIELD: &str = "spec.strategy";
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "Recreate" if rolling.is_null() => Vec::new(),
        "Recreate" => vec![FieldError::forbidden(
            format!("{FIELD}.rollingUpdate"),
            "may not be specified when strategy `type` is 'Recreate'",
        )],
        "RollingUpdate" => rolling_update(&format!("{FIELD}.rollingUpdate"), rolling),
        other => {
            // Upstream prints the internal Go struct.
            let shown = json!({"Type": other, "RollingUpdate": rolling});
            vec![FieldError::not_supported(FIELD, shown, &["Recreate", "RollingUpdate"])]
        }
    }
}

fn rolling_update(field: &str, rolling: &Value) -> Vec<FieldError> {
    let (unavailable, surge) = (&rolling["maxUnavailable"], &rolling["maxSurge"]);
    let mut errors = count_or_percent(&format!("{field}.maxUnavailable"), unavailable);
    errors.extend(count_or_percent(&format!("{field}.maxSurge"), surge));
    let complain =
        |detail: &str| FieldError::invalid(format!("{field}.maxUnavailable"), unavailable.clone(), detail);
    if amount(unavailable) == 0 && amount(surge) == 0 {
        errors.push(complain("may not be 0 when `maxSurge` is 0"));
    }
    if unavailable.is_string() && amount(unavailable) > 100 {
        errors.push(complain("must not be greater than 100%"));
    }
    errors
}

fn amount(value: &Value) -> i64 {
    match value {
        Value::String(percent) => {
            percent.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0)
        }
        number => number.as_i64().unwrap_or_default(),
    }
}

fn count_or_percent(field: &str, value: &Value) -> Vec<FieldError> {
    let Some(percent) = value.as_str() else { return not_negative(field, value).into_iter().collect() };
    let digits = percent.strip_suffix('%').unwrap_or_default();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Vec::new();
    }
    let detail = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex \
                  used for validation is '[0-9]+%')";
    vec![FieldError::invalid(field, percent, detail)]
}

pub(super) fn replication_controller(controller: &Value) -> Vec<FieldError> {
    let spec = &controller["spec"];
    let mut errors: Vec<FieldError> =
        not_negative("spec.minReadySeconds", &spec["minReadySeconds"]).into_iter().collect();
    if entries(&spec["selector"]).next().is_none() {
        errors.push(FieldError::required("spec.selector", ""));
    }
    errors.extend(not_negative("spec.replicas", &spec["replicas"]));
    if spec["template"].is_null() {
        errors.push(FieldError::required("spec.template", ""));
        return errors;
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if entries(&spec["selector"]).any(|(key, value)| labels[key] != value) {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels.clone(), detail));
    }
    errors.extend(pod::template("spec.template", &spec["template"]));
    errors.extend(restarts(&spec["template"], "ReplicationController"));
    errors
}
