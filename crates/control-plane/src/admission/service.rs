//! Services: linked fields, addresses and node ports (upstream's `registry/core/service/storage`).

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use objects::resource::Resource;
use objects::status::{FieldError, Status};
use objects::validate::is_headless;
use serde_json::{Value, json};

use super::addresses::{self, AddressError, Owner};
use super::families::{self, list};
use super::node_ports::{self, Failure};
use crate::store::Transaction;

fn is_external(service: &Value) -> bool {
    service["spec"]["type"] == "ExternalName"
}

fn owner(service: &Value) -> Owner<'_> {
    let metadata = &service["metadata"];
    let text = |name: &str| metadata[name].as_str().unwrap_or_default();
    Owner { namespace: text("namespace"), name: text("name") }
}

fn remove(spec: &mut Value, name: &str) {
    if let Some(fields) = spec.as_object_mut() {
        fields.shift_remove(name);
    }
}

/// Allocates what a new Service needs.
pub(super) fn create(
    transaction: &mut Transaction<'_>,
    range: Ipv4Net,
    resource: &Resource,
    service: &mut Value,
) -> Result<(), Status> {
    let spec = &mut service["spec"];
    if spec["clusterIP"].is_string() && list(spec, "clusterIPs").is_empty() {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
    families::initialize(None, service).map_err(|errors| invalid(resource, service, &errors))?;
    if !is_external(service) {
        allocate_address(transaction, range, resource, service)?;
    }
    allocate_ports(transaction, resource, None, service)
}

/// Carries over what the client left out, allocates what a changed Service newly needs, releases what it no longer does.
pub(super) fn update(
    transaction: &mut Transaction<'_>,
    range: Ipv4Net,
    resource: &Resource,
    old: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    drop_dependent_fields(old, new);
    carry_over(old, new);
    normalize(&old["spec"], &mut new["spec"]);
    families::initialize(Some(old), new).map_err(|errors| invalid(resource, new, &errors))?;
    match (is_external(old), is_external(new)) {
        (true, false) => allocate_address(transaction, range, resource, new)?,
        (false, true) => release_address(transaction, old),
        _ => {}
    }
    allocate_ports(transaction, resource, Some(old), new)
}

/// Gives back what a deleted Service held.
pub(super) fn release(transaction: &mut Transaction<'_>, service: &Value) {
    release_address(transaction, service);
    node_ports::release_all(transaction, &service["spec"]);
}

fn invalid(resource: &Resource, service: &Value, errors: &[FieldError]) -> Status {
    Status::invalid(resource, owner(service).name, errors)
}

fn allocate_address(
    transaction: &mut Transaction<'_>,
    range: Ipv4Net,
    resource: &Resource,
    service: &mut Value,
) -> Result<(), Status> {
    if is_headless(service) {
        return Ok(());
    }
    let owner = owner(service);
    let given = list(&service["spec"], "clusterIPs").first().and_then(Value::as_str).unwrap_or_default();
    let address = if given.is_empty() {
        addresses::take_any(transaction, range, &owner)
            .map_err(|why| exhausted(owner.name, &why))?
            .to_string()
    } else {
        let refuse = |why: &AddressError| {
            let detail = format!("failed to allocate IP {given}: {why}");
            let error = FieldError::invalid("spec.clusterIPs", service["spec"]["clusterIPs"].clone(), detail);
            invalid(resource, service, &[error])
        };
        let parsed: Ipv4Addr =
            given.parse().map_err(|_| Status::internal(format!("failed to parse service IP \"{given}\"")))?;
        addresses::take(transaction, range, parsed, &owner).map_err(|why| refuse(&why))?;
        given.to_owned()
    };
    service["spec"]["clusterIP"] = json!(address);
    service["spec"]["clusterIPs"] = json!([address]);
    Ok(())
}

fn exhausted(name: &str, why: &AddressError) -> Status {
    Status::internal(format!("failed to allocate a serviceIP for Service \"{name}\": {why}"))
}

fn release_address(transaction: &mut Transaction<'_>, service: &Value) {
    for address in list(&service["spec"], "clusterIPs").iter().filter_map(Value::as_str) {
        if let Ok(address) = address.parse() {
            addresses::release(transaction, address, &owner(service));
        }
    }
}

fn allocate_ports(
    transaction: &mut Transaction<'_>,
    resource: &Resource,
    old: Option<&Value>,
    service: &mut Value,
) -> Result<(), Status> {
    let before = old.map(|old| &old["spec"]);
    node_ports::allocate(transaction, before, &mut service["spec"]).map_err(|failure| match failure {
        Failure::Field(error) => invalid(resource, service, std::slice::from_ref(&*error)),
        Failure::Internal(why) => Status::internal(why),
    })
}

/// Clears fields that a change of type makes meaningless, unless the user changed them too (`dropTypeDependentFields`);
/// then validation complains.
fn drop_dependent_fields(old: &Value, new: &mut Value) {
    let before = &old["spec"];
    let (left_address, same_address) = (
        !is_external(old) && is_external(new),
        ["clusterIP", "clusterIPs"].into_iter().all(|name| before[name] == new["spec"][name]),
    );
    let spec = &mut new["spec"];
    let mut dropped = Vec::new();
    if left_address {
        dropped.extend(same_address.then_some(["clusterIP", "clusterIPs"]).into_iter().flatten());
        let names = ["ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"];
        dropped.extend(names.into_iter().filter(|name| before[*name] == spec[*name]));
    }
    let lost = |holds: fn(&Value) -> bool| holds(before) && !holds(spec);
    let unchanged = |name: &str| before[name] == spec[name];
    if lost(node_ports::needs_health_check) && unchanged("healthCheckNodePort") {
        dropped.push("healthCheckNodePort");
    }
    if lost(|spec| spec["type"] == "LoadBalancer") {
        let names = ["allocateLoadBalancerNodePorts", "loadBalancerClass"];
        dropped.extend(names.into_iter().filter(|name| unchanged(name)));
    }
    if lost(externally_accessible) && unchanged("externalTrafficPolicy") {
        dropped.push("externalTrafficPolicy");
    }
    if lost(node_ports::has_ports) && no_new_node_ports(before, spec) {
        spec["ports"].as_array_mut().into_iter().flatten().for_each(|port| remove(port, "nodePort"));
    }
    dropped.into_iter().for_each(|name| remove(spec, name));
    if new["spec"]["type"] != "LoadBalancer" {
        new["status"]["loadBalancer"] = json!({});
    }
}

fn externally_accessible(spec: &Value) -> bool {
    node_ports::has_ports(spec) || (spec["type"] == "ClusterIP" && !list(spec, "externalIPs").is_empty())
}

fn no_new_node_ports(before: &Value, after: &Value) -> bool {
    let held =
        |spec: &Value, number: &Value| list(spec, "ports").iter().any(|port| port["nodePort"] == *number);
    list(after, "ports")
        .iter()
        .map(|port| &port["nodePort"])
        .all(|number| number.is_null() || held(before, number))
}

/// Values that we allocated and the client's copy lacks are kept (`patchAllocatedValues`), so that the same manifest can be
/// sent again.
fn carry_over(old: &Value, new: &mut Value) {
    let before = &old["spec"];
    let needs_address = !is_external(old) && !is_external(new);
    let spec = &mut new["spec"];
    if needs_address {
        if !spec["clusterIP"].is_string() && before["clusterIP"].is_string() {
            spec["clusterIP"] = before["clusterIP"].clone();
        }
        if list(spec, "clusterIPs").is_empty() && !list(before, "clusterIPs").is_empty() {
            spec["clusterIPs"] = before["clusterIPs"].clone();
        }
    }
    if node_ports::has_ports(before) && node_ports::has_ports(spec) {
        carry_over_node_ports(before, spec);
    }
    let checked = node_ports::needs_health_check(before) && node_ports::needs_health_check(spec);
    if checked && spec["healthCheckNodePort"].is_null() {
        spec["healthCheckNodePort"] = before["healthCheckNodePort"].clone();
    }
}

fn carry_over_node_ports(before: &Value, spec: &mut Value) {
    let used: Vec<Value> = list(spec, "ports").iter().map(|port| port["nodePort"].clone()).collect();
    for port in spec["ports"].as_array_mut().into_iter().flatten().filter(|port| port["nodePort"].is_null()) {
        let namesake = list(before, "ports").iter().rfind(|old| old["name"] == port["name"]);
        if let Some(number) = namesake.map(|old| &old["nodePort"]).filter(|number| number.is_number())
            && !used.contains(number)
        {
            port["nodePort"] = number.clone();
        }
    }
}

/// Keeps `clusterIP` and `clusterIPs` in step for clients that know only the former (`normalizeClusterIPs`).
fn normalize(before: &Value, spec: &mut Value) {
    let cleared = !before["clusterIP"].is_null() && spec["clusterIP"].is_null();
    let same = before["clusterIPs"] == spec["clusterIPs"];
    if before["clusterIP"] == spec["clusterIP"] || !same {
        return;
    }
    if cleared {
        remove(spec, "clusterIPs");
    } else {
        spec["clusterIPs"] = json!([spec["clusterIP"]]);
    }
}
