//! A Service's address families in a cluster that has only IPv4 (upstream's `initIPFamilyFields`).
//!
//! Fills `ipFamilyPolicy` and `ipFamilies`, and refuses what the cluster cannot give. Headless Services without a selector may
//! name families that the cluster does not have: their endpoints are the user's.

use objects::status::FieldError;
use objects::validate::{is_headless, service_addresses};
use serde_json::{Value, json};

const POLICY: &str = "spec.ipFamilyPolicy";
const SINGLE: &str = "SingleStack";

pub(super) fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn selects_nothing(spec: &Value) -> bool {
    spec["selector"].as_object().is_none_or(serde_json::Map::is_empty)
}

/// Initializes the fields of `service`, which replaces `old` unless it is new.
pub(super) fn initialize(old: Option<&Value>, service: &mut Value) -> Result<(), Vec<FieldError>> {
    if service["spec"]["type"] == "ExternalName" || old.is_some_and(|old| keeps_preferring(old, service)) {
        return Ok(());
    }
    set_policy(old, &mut service["spec"]);
    let malformed = service_addresses(service);
    if !malformed.is_empty() {
        return Err(malformed);
    }
    let mut errors = Vec::new();
    if let Some(old) = old {
        errors.extend(shrink(&old["spec"], &mut service["spec"]));
    }
    errors.extend(too_many(&service["spec"]));
    errors.extend(infer(&mut service["spec"]));
    if !errors.is_empty() {
        return Err(errors);
    }
    if is_headless(service) && selects_nothing(&service["spec"]) {
        complete_headless(&mut service["spec"]);
        return Ok(());
    }
    let errors = unavailable(&service["spec"]);
    if !errors.is_empty() {
        return Err(errors);
    }
    if list(&service["spec"], "ipFamilies").is_empty() {
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
    }
    Ok(())
}

/// A change elsewhere does not touch the families of a Service that prefers two.
fn keeps_preferring(old: &Value, new: &Value) -> bool {
    let (before, after) = (&old["spec"], &new["spec"]);
    let prefers = |spec: &Value| spec["ipFamilyPolicy"] == "PreferDualStack";
    prefers(before)
        && prefers(after)
        && ["type", "clusterIP", "clusterIPs", "ipFamilies"]
            .into_iter()
            .all(|name| before[name] == after[name])
}

fn set_policy(old: Option<&Value>, spec: &mut Value) {
    if spec["ipFamilyPolicy"].is_string() {
        return;
    }
    let before = old.map(|old| old["spec"]["ipFamilyPolicy"].clone()).filter(Value::is_string);
    let headless = spec["clusterIP"] == "None" && selects_nothing(spec);
    spec["ipFamilyPolicy"] =
        before.unwrap_or_else(|| json!(if headless { "RequireDualStack" } else { SINGLE }));
}

/// Cuts second values off when the policy asks for one family, and refuses to lose them otherwise.
fn shrink(old: &Value, spec: &mut Value) -> Vec<FieldError> {
    let names = [("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")];
    let mut errors = Vec::new();
    for (name, what) in names {
        let (before, after) = (list(old, name).len(), list(spec, name).len());
        if spec["ipFamilyPolicy"] == SINGLE {
            if old[name] == spec[name]
                && let Some(values) = spec[name].as_array_mut()
            {
                values.truncate(1);
            }
        } else if before > after && after > 0 {
            let detail = format!("must be '{SINGLE}' to release the secondary {what}");
            errors.push(FieldError::invalid(POLICY, spec["ipFamilyPolicy"].clone(), detail));
        }
    }
    errors
}

fn too_many(spec: &Value) -> Vec<FieldError> {
    let names = [("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")];
    let broken =
        names.into_iter().filter(|(name, _)| spec["ipFamilyPolicy"] == SINGLE && list(spec, name).len() == 2);
    broken
        .map(|(_, what)| {
            let detail =
                format!("must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified");
            FieldError::invalid(POLICY, SINGLE, detail)
        })
        .collect()
}

/// Families follow from addresses that are given.
fn infer(spec: &mut Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let mut families = list(spec, "ipFamilies").to_vec();
    for (index, ip) in list(spec, "clusterIPs").iter().enumerate() {
        let Some(ip) = ip.as_str().filter(|ip| *ip != "None") else { break };
        if index < families.len() {
            continue;
        }
        if ip.contains(':') {
            let field = format!("spec.clusterIPs[{index}]");
            let detail = "IPv6 is not configured on this cluster";
            errors.push(FieldError::invalid(field, spec["clusterIPs"].clone(), detail));
        } else {
            families.push(json!("IPv4"));
        }
    }
    if !families.is_empty() {
        spec["ipFamilies"] = Value::Array(families);
    }
    errors
}

fn complete_headless(spec: &mut Value) {
    let mut families = list(spec, "ipFamilies").to_vec();
    if families.is_empty() {
        families.push(json!("IPv4"));
    }
    if families.len() < 2 && spec["ipFamilyPolicy"] != SINGLE {
        let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
        families.push(json!(other));
    }
    spec["ipFamilies"] = Value::Array(families);
}

fn unavailable(spec: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if spec["ipFamilyPolicy"] == "RequireDualStack" {
        let detail = "this cluster is not configured for dual-stack services";
        errors.push(FieldError::invalid(POLICY, "RequireDualStack", detail));
    }
    for (index, family) in list(spec, "ipFamilies").iter().enumerate().filter(|(_, family)| *family != "IPv4")
    {
        let field = format!("spec.ipFamilies[{index}]");
        errors.push(FieldError::invalid(field, family.clone(), "not configured on this cluster"));
    }
    errors
}
