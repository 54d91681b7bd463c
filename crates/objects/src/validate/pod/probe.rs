//! Rules of probes and of the hooks of a container's life.

use crate::status::FieldError;
use crate::validate::service::number_or_name;
use crate::validate::{list, text};
use serde_json::Value;

const TIMES: [&str; 5] =
    ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"];

/// Hooks and probes of a container.
pub(super) fn all(at: &str, container: &Value, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for hook in ["postStart", "preStop"] {
        let handler_of_hook = &container["lifecycle"][hook];
        if !handler_of_hook.is_null() {
            errors.extend(handler(&format!("{at}.lifecycle.{hook}"), handler_of_hook, spec));
        }
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if !container[name].is_null() {
            errors.extend(probe(&format!("{at}.{name}"), name, &container[name], spec));
        }
    }
    errors
}

fn probe(field: &str, name: &str, probe: &Value, spec: &Value) -> Vec<FieldError> {
    let mut errors = handler(field, probe, spec);
    for time in TIMES {
        let seconds = probe[time].as_i64().unwrap_or_default();
        if seconds < 0 {
            let detail = "must be greater than or equal to 0";
            errors.push(FieldError::invalid(format!("{field}.{time}"), seconds, detail));
        }
    }
    let grace = probe["terminationGracePeriodSeconds"].as_i64();
    let grace_field = format!("{field}.terminationGracePeriodSeconds");
    if let Some(seconds) = grace.filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(grace_field.clone(), seconds, "must be greater than 0"));
    }
    if name == "readinessProbe" {
        let refused = "must not be set for readinessProbes";
        errors.extend(grace.map(|seconds| FieldError::invalid(grace_field, seconds, refused)));
    } else if let Some(successes) = probe["successThreshold"].as_i64().filter(|successes| *successes != 1) {
        errors.push(FieldError::invalid(format!("{field}.successThreshold"), successes, "must be 1"));
    }
    errors
}

fn handler(field: &str, handler: &Value, spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut first = true;
    for kind in ["exec", "httpGet", "tcpSocket", "grpc", "sleep"] {
        let action = &handler[kind];
        if action.is_null() {
            continue;
        }
        let at = format!("{field}.{kind}");
        if first {
            errors.extend(self::action(&at, kind, action, spec));
        } else {
            errors.push(FieldError::forbidden(at, "may not specify more than 1 handler type"));
        }
        first = false;
    }
    if first {
        errors.push(FieldError::required(field, "must specify a handler type"));
    }
    errors
}

fn action(at: &str, kind: &str, action: &Value, spec: &Value) -> Vec<FieldError> {
    match kind {
        "exec" if list(action, "command").is_empty() => {
            vec![FieldError::required(format!("{at}.command"), "")]
        }
        "httpGet" => http_get(at, action),
        "tcpSocket" | "grpc" => number_or_name(&format!("{at}.port"), &action["port"]),
        "sleep" => {
            let (seconds, grace) = (action["seconds"].as_i64().unwrap_or_default(), grace(spec));
            let detail =
                format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
            if (0..=grace).contains(&seconds) {
                Vec::new()
            } else {
                vec![FieldError::invalid(at, seconds, detail)]
            }
        }
        _ => Vec::new(),
    }
}

fn grace(spec: &Value) -> i64 {
    spec["terminationGracePeriodSeconds"].as_i64().unwrap_or_default()
}

fn http_get(at: &str, action: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if text(action, "path").is_empty() {
        errors.push(FieldError::required(format!("{at}.path"), ""));
    }
    errors.extend(number_or_name(&format!("{at}.port"), &action["port"]));
    let scheme = text(action, "scheme");
    if !["HTTP", "HTTPS"].contains(&scheme) {
        errors.push(FieldError::not_supported(format!("{at}.scheme"), scheme, &["HTTP", "HTTPS"]));
    }
    for header in list(action, "httpHeaders") {
        let name = text(header, "name");
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if !plain {
            let detail = "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex \
                          used for validation is '[-A-Za-z0-9]+')";
            errors.push(FieldError::invalid(format!("{at}.httpHeaders"), name, detail));
        }
    }
    errors
}
