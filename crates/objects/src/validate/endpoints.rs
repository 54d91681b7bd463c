//! Rules of EndpointSlices and Endpoints.

use super::service::{address, special};
use super::{invalid, list, names, one_of, text};
use crate::status::FieldError;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;

const ADDRESS_TYPES: [&str; 3] = ["FQDN", "IPv4", "IPv6"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;
const PORTS_MAX: usize = 20000;
const HINTS_MAX: usize = 8;

pub(super) fn endpoint_slice(slice: &Value) -> Vec<FieldError> {
    let kind = text(slice, "addressType");
    let mut errors: Vec<FieldError> = one_of("addressType", kind, &ADDRESS_TYPES).into_iter().collect();
    errors.extend(slice_ports(list(slice, "ports")));
    let endpoints = list(slice, "endpoints");
    if endpoints.len() > ENDPOINTS_MAX {
        errors.push(FieldError::too_many("endpoints", endpoints.len(), ENDPOINTS_MAX));
        return errors;
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        errors.extend(self::endpoint(&format!("endpoints[{index}]"), endpoint, kind));
    }
    errors
}

/// The type of a slice's addresses is immutable.
pub(super) fn change(old: &Value, new: &Value) -> Option<FieldError> {
    let (before, after) = (&old["addressType"], &new["addressType"]);
    // Upstream shows no value here.
    (before != after).then(|| FieldError::invalid("addressType", Value::Null, "field is immutable"))
}

fn slice_ports(ports: &[Value]) -> Vec<FieldError> {
    if ports.len() > PORTS_MAX {
        return vec![FieldError::too_many("ports", ports.len(), PORTS_MAX)];
    }
    let mut seen = HashSet::new();
    let mut errors = Vec::new();
    for (index, port) in ports.iter().enumerate() {
        let name = text(port, "name");
        let field = format!("ports[{index}].name");
        if !name.is_empty() {
            errors.extend(invalid(&field, &json!(name), names::dns_1123_label(name)));
        }
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(field, name));
        }
        errors.extend(one_of(&format!("ports[{index}].protocol"), text(port, "protocol"), &PROTOCOLS));
        errors.extend(app_protocol(&format!("ports[{index}]"), port));
    }
    errors
}

fn app_protocol(at: &str, port: &Value) -> Vec<FieldError> {
    let Some(protocol) = port["appProtocol"].as_str() else { return Vec::new() };
    invalid(&format!("{at}.appProtocol"), &json!(protocol), names::qualified_name(protocol))
}

fn endpoint(at: &str, endpoint: &Value, kind: &str) -> Vec<FieldError> {
    let addresses = list(endpoint, "addresses");
    let field = format!("{at}.addresses");
    let mut errors = Vec::new();
    if addresses.is_empty() {
        errors.push(FieldError::required(field.clone(), ""));
    } else if addresses.len() > ADDRESSES_MAX {
        errors.push(FieldError::too_many(field.clone(), addresses.len(), ADDRESSES_MAX));
    }
    for (index, one) in addresses.iter().enumerate() {
        errors.extend(slice_address(&field, index, one, kind));
    }
    if let Some(node) = endpoint["nodeName"].as_str() {
        errors.extend(invalid(&format!("{at}.nodeName"), &json!(node), names::dns_1123_subdomain(node)));
    }
    if let Some(host) = endpoint["hostname"].as_str() {
        errors.extend(invalid(&format!("{at}.hostname"), &json!(host), names::dns_1123_label(host)));
    }
    errors.extend(hints(&format!("{at}.hints"), &endpoint["hints"]));
    errors
}

fn slice_address(field: &str, index: usize, shown: &Value, kind: &str) -> Vec<FieldError> {
    let at = format!("{field}[{index}]");
    if kind == "FQDN" {
        return domain(&at, shown.as_str().unwrap_or_default());
    }
    if !matches!(kind, "IPv4" | "IPv6") {
        return Vec::new();
    }
    let parsed = shown.as_str().and_then(|text| text.parse::<IpAddr>().ok());
    let Some(parsed) = parsed else { return address(&at, shown).into_iter().collect() };
    let mut errors = Vec::new();
    if parsed.is_ipv4() != (kind == "IPv4") {
        errors.push(FieldError::invalid(field, shown.clone(), format!("must be an {kind} address")));
    }
    errors.extend(special(&at, shown, parsed));
    errors
}

fn domain(at: &str, name: &str) -> Vec<FieldError> {
    if name.is_empty() {
        return vec![FieldError::required(at, "")];
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let complaints = names::dns_1123_subdomain(name);
    if !complaints.is_empty() {
        return vec![FieldError::invalid(at, name, complaints.join(","))];
    }
    let detail = "should be a domain with at least two segments separated by dots";
    if name.contains('.') { Vec::new() } else { vec![FieldError::invalid(at, name, detail)] }
}

fn hints(field: &str, hints: &Value) -> Vec<FieldError> {
    type Rule = fn(&str) -> Vec<String>;
    let kinds: [(&str, Rule); 2] =
        [("forZones", names::label_value), ("forNodes", names::dns_1123_subdomain)];
    let mut errors = Vec::new();
    for (kind, rule) in kinds {
        let all = list(hints, kind);
        if all.len() > HINTS_MAX {
            errors.push(FieldError::too_many(format!("{field}.{kind}"), all.len(), HINTS_MAX));
            return errors;
        }
        let mut seen = HashSet::new();
        for (index, hint) in all.iter().enumerate() {
            let (at, name) = (format!("{field}.{kind}[{index}].name"), text(hint, "name"));
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(at.clone(), name));
            }
            errors.extend(invalid(&at, &json!(name), rule(name)));
        }
    }
    errors
}

pub(super) fn endpoints(endpoints: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, subset) in list(endpoints, "subsets").iter().enumerate() {
        let at = format!("subsets[{index}]");
        if list(subset, "addresses").is_empty() && list(subset, "notReadyAddresses").is_empty() {
            errors.push(FieldError::required(at.clone(), "must specify `addresses` or `notReadyAddresses`"));
        }
        for kind in ["addresses", "notReadyAddresses"] {
            for (index, one) in list(subset, kind).iter().enumerate() {
                errors.extend(subset_address(&format!("{at}.{kind}[{index}]"), one));
            }
        }
        let ports = list(subset, "ports");
        for (index, port) in ports.iter().enumerate() {
            errors.extend(subset_port(&format!("{at}.ports[{index}]"), port, ports.len() > 1));
        }
    }
    errors
}

fn subset_address(at: &str, one: &Value) -> Vec<FieldError> {
    let field = format!("{at}.ip");
    let mut errors: Vec<FieldError> = address(&field, &one["ip"]).into_iter().collect();
    let host = text(one, "hostname");
    if !host.is_empty() {
        errors.extend(invalid(&format!("{at}.hostname"), &json!(host), names::dns_1123_label(host)));
    }
    if let Some(node) = one["nodeName"].as_str() {
        errors.extend(invalid(&format!("{at}.nodeName"), &json!(node), names::dns_1123_subdomain(node)));
    }
    match text(one, "ip").parse() {
        Ok(ip) => errors.extend(special(&field, &one["ip"], ip)),
        Err(_) => errors.push(FieldError::invalid(field, text(one, "ip"), "must be a valid IP address")),
    }
    errors
}

fn subset_port(at: &str, port: &Value, required: bool) -> Vec<FieldError> {
    let name = text(port, "name");
    let mut errors = Vec::new();
    if !name.is_empty() {
        errors.extend(invalid(&format!("{at}.name"), &json!(name), names::dns_1123_label(name)));
    } else if required {
        errors.push(FieldError::required(format!("{at}.name"), ""));
    }
    let number = port["port"].as_i64().unwrap_or_default();
    errors.extend(invalid(&format!("{at}.port"), &json!(number), names::port_number(number)));
    errors.extend(one_of(&format!("{at}.protocol"), text(port, "protocol"), &PROTOCOLS));
    errors.extend(app_protocol(at, port));
    errors
}
