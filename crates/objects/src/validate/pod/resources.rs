//! Rules of requests and limits.

use crate::quantity::Quantity;
use crate::status::FieldError;
use crate::validate::{entries, text};
use serde_json::Value;

const STANDARD: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];

pub(super) fn resources(field: &str, resources: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (name, amount) in entries(&resources["limits"]) {
        errors.extend(resource(&format!("{field}.limits[{name}]"), name, amount));
    }
    for (name, amount) in entries(&resources["requests"]) {
        errors.extend(resource(&format!("{field}.requests[{name}]"), name, amount));
        errors.extend(within(&format!("{field}.requests"), name, amount, text(&resources["limits"], name)));
    }
    errors
}

fn resource(field: &str, name: &str, amount: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let qualified = name.contains('/') || name.starts_with("hugepages-");
    if !STANDARD.contains(&name) && !qualified {
        errors.push(FieldError::invalid(field, name, "must be a standard resource type or fully qualified"));
        errors.push(FieldError::invalid(field, name, "must be a standard resource for containers"));
    }
    if Quantity::parse(amount).is_some_and(|amount| amount.is_negative()) {
        errors.push(FieldError::invalid(field, amount, "must be greater than or equal to 0"));
    }
    errors
}

fn within(field: &str, name: &str, request: &str, limit: &str) -> Option<FieldError> {
    let (wanted, most) = (Quantity::parse(request)?, Quantity::parse(limit)?);
    let detail = format!("must be less than or equal to {name} limit of {most}");
    (wanted > most).then(|| FieldError::invalid(field, wanted.to_string(), detail))
}
