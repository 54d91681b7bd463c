//! Rules of a Service's ports.

use crate::status::FieldError;
use crate::validate::{invalid, list, names, one_of, text};
use serde_json::{Value, json};
use std::collections::HashSet;

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(super) fn ports(spec: &Value) -> Vec<FieldError> {
    let ports = list(spec, "ports");
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let field = format!("spec.ports[{index}]");
        errors.extend(name(&field, port, ports.len() > 1, &mut seen));
        let number = port["port"].as_i64().unwrap_or_default();
        errors.extend(invalid(&format!("{field}.port"), &json!(number), names::port_number(number)));
        errors.extend(one_of(&format!("{field}.protocol"), text(port, "protocol"), &PROTOCOLS));
        errors.extend(number_or_name(&format!("{field}.targetPort"), &port["targetPort"]));
        if let Some(protocol) = port["appProtocol"].as_str() {
            errors.extend(invalid(
                &format!("{field}.appProtocol"),
                &json!(protocol),
                names::qualified_name(protocol),
            ));
        }
    }
    errors
}

fn name<'v>(field: &str, port: &'v Value, required: bool, seen: &mut HashSet<&'v str>) -> Vec<FieldError> {
    let field = format!("{field}.name");
    let name = text(port, "name");
    if name.is_empty() {
        return if required { vec![FieldError::required(field, "")] } else { Vec::new() };
    }
    let mut errors = invalid(&field, &json!(name), names::dns_1123_label(name));
    if !seen.insert(name) {
        errors.push(FieldError::duplicate(field, name));
    }
    errors
}

/// Rules of a port that is a number or a container port's name.
pub(in crate::validate) fn number_or_name(field: &str, port: &Value) -> Vec<FieldError> {
    match port {
        Value::String(name) => invalid(field, port, names::port_name(name)),
        number => {
            let number = number.as_i64().unwrap_or_default();
            invalid(field, &json!(number), names::port_number(number))
        }
    }
}

pub(super) fn node_ports(spec: &Value, kind: &str) -> Vec<FieldError> {
    let numbered = || {
        list(spec, "ports").iter().enumerate().filter_map(|(index, port)| {
            let number = port["nodePort"].as_i64().filter(|number| *number != 0)?;
            Some((format!("spec.ports[{index}].nodePort"), port, number))
        })
    };
    let mut errors = Vec::new();
    if kind == "ClusterIP" {
        let refusal = "may not be used when `type` is 'ClusterIP'";
        errors.extend(numbered().map(|(field, _, _)| FieldError::forbidden(field, refusal)));
    }
    let mut seen = HashSet::new();
    for (field, port, number) in numbered() {
        if !seen.insert((text(port, "protocol"), number)) {
            errors.push(FieldError::duplicate(field, number));
        }
    }
    errors
}

pub(super) fn duplicates(spec: &Value) -> Vec<FieldError> {
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, port) in list(spec, "ports").iter().enumerate() {
        let (protocol, number) = (text(port, "protocol"), port["port"].as_i64().unwrap_or_default());
        if !seen.insert((protocol, number)) {
            // Upstream prints the internal Go struct, with its unset fields.
            let shown = json!({"Name": "", "Protocol": protocol, "AppProtocol": null, "Port": number, "TargetPort": 0, "NodePort": 0});
            errors.push(FieldError::duplicate(format!("spec.ports[{index}]"), shown));
        }
    }
    errors
}
