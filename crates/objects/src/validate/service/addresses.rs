//! Rules of a Service's addresses and address families.

use super::is_headless;
use crate::status::FieldError;
use crate::validate::{list, text};
use serde_json::Value;
use std::net::IpAddr;

const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];
const POLICIES: [&str; 3] = ["PreferDualStack", "RequireDualStack", "SingleStack"];
const IPS: &str = "spec.clusterIPs";

/// Rules of `clusterIP`, `clusterIPs`, `ipFamilies` and `ipFamilyPolicy`. Allocation checks these first, so that their
/// errors win over all others.
pub fn addresses(service: &Value) -> Vec<FieldError> {
    let spec = &service["spec"];
    if text(spec, "type") == "ExternalName" {
        return Vec::new();
    }
    let ips = list(spec, "clusterIPs");
    let mut errors: Vec<FieldError> = singular(spec, ips).into_iter().collect();
    errors.extend(families(spec));
    let policy = text(spec, "ipFamilyPolicy");
    if !policy.is_empty() && !POLICIES.contains(&policy) {
        errors.push(FieldError::not_supported("spec.ipFamilyPolicy", policy, &POLICIES));
    }
    let malformed = syntax(spec, ips);
    let stop = !malformed.is_empty();
    errors.extend(malformed);
    if ips.len() > 2 {
        errors.push(FieldError::invalid(IPS, spec["clusterIPs"].clone(), "may only hold up to 2 values"));
    }
    if stop {
        return errors;
    }
    if ips.len() > 1 && !is_dual(ips) {
        let detail = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(IPS, spec["clusterIPs"].clone(), detail));
    }
    if !is_headless(service) {
        errors.extend(match_families(ips, list(spec, "ipFamilies")));
    }
    errors
}

fn singular(spec: &Value, ips: &[Value]) -> Option<FieldError> {
    let single = text(spec, "clusterIP");
    let complaint = |detail: &str| Some(FieldError::invalid(IPS, spec["clusterIPs"].clone(), detail));
    match (single.is_empty(), ips.first()) {
        (false, None) => Some(FieldError::required(IPS, "")),
        (false, Some(first)) if first != single => complaint("first value must match `clusterIP`"),
        (true, Some(_)) => complaint("must be empty when `clusterIP` is not specified"),
        _ => None,
    }
}

fn families(spec: &Value) -> Vec<FieldError> {
    let families = list(spec, "ipFamilies");
    let mut errors = Vec::new();
    for (index, family) in families.iter().enumerate() {
        let field = format!("spec.ipFamilies[{index}]");
        if !family.as_str().is_some_and(|family| FAMILIES.contains(&family)) {
            errors.push(FieldError::not_supported(field.clone(), family.clone(), &FAMILIES));
        }
        if families[..index].contains(family) {
            errors.push(FieldError::duplicate(field, family.clone()));
        }
    }
    errors
}

fn syntax(spec: &Value, ips: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, ip) in ips.iter().enumerate() {
        if index == 0 && ip == "None" {
            if ips.len() > 1 {
                let detail = "'None' must be the first and only value";
                errors.push(FieldError::invalid(IPS, spec["clusterIPs"].clone(), detail));
            }
        } else {
            errors.extend(address(&format!("{IPS}[{index}]"), ip));
        }
    }
    errors
}

/// A complaint about a text that is no plain address.
pub(in crate::validate) fn address(field: &str, ip: &Value) -> Option<FieldError> {
    let text = ip.as_str().unwrap_or_default();
    let detail = match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => "must not be an IPv4-mapped IPv6 address",
        Ok(_) => return None,
        Err(_) if without_leading_zeros(text).parse::<std::net::Ipv4Addr>().is_ok() => {
            "must not have leading 0s"
        }
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    };
    Some(FieldError::invalid(field, ip.clone(), detail))
}

fn without_leading_zeros(text: &str) -> String {
    let parts: Vec<&str> = text
        .split('.')
        .map(|part| match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0",
            rest => rest,
        })
        .collect();
    parts.join(".")
}

fn parse(ip: &Value) -> Option<IpAddr> {
    ip.as_str()?.parse().ok()
}

fn is_dual(ips: &[Value]) -> bool {
    let v6 = ips.iter().filter_map(parse).filter(IpAddr::is_ipv6).count();
    v6 > 0 && v6 < ips.len()
}

fn match_families(ips: &[Value], families: &[Value]) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, (ip, family)) in ips.iter().zip(families).enumerate() {
        let v6 = parse(ip).is_some_and(|ip| ip.is_ipv6());
        if (family == "IPv4" && v6) || (family == "IPv6" && !v6) {
            let expected = family.as_str().unwrap_or_default();
            let detail = format!("expected an {expected} value as indicated by `ipFamilies[{index}]`");
            errors.push(FieldError::invalid(format!("{IPS}[{index}]"), ip.clone(), detail));
        }
    }
    errors
}

/// Rules of `externalIPs`: addresses that are not special.
pub(super) fn external(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (index, ip) in list(spec, "externalIPs").iter().enumerate() {
        let field = format!("spec.externalIPs[{index}]");
        match parse(ip) {
            None => errors.extend(address(&field, ip)),
            Some(parsed) => errors.extend(special(&field, ip, parsed)),
        }
    }
    errors
}

/// Addresses that can be nobody's endpoint (also for EndpointSlices).
pub(in crate::validate) fn special(field: &str, shown: &Value, ip: IpAddr) -> Vec<FieldError> {
    let (link_local, link_multicast) = match ip {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    let rules = [
        (ip.is_unspecified(), format!("may not be unspecified ({})", shown.as_str().unwrap_or_default())),
        (ip.is_loopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned()),
        (link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)".to_owned()),
        (link_multicast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)".to_owned()),
    ];
    let broken = rules.into_iter().filter(|(broken, _)| *broken);
    broken.map(|(_, detail)| FieldError::invalid(field, shown.clone(), detail)).collect()
}
