//! Node ports: which are taken, and taking one.
//!
//! As upstream keeps a bitmap beside its objects, each taken port is an entry of its own in the store, so that it is
//! committed and dropped with the Service. Dynamic ports come from the upper part of the range (KEP-3668).

use objects::status::FieldError;
use rand::RngExt;
use serde_json::{Value, json};

use super::families::list;
use crate::store::{Key, Transaction};

/// Upstream's default `--service-node-port-range`.
const FIRST: u16 = 30000;
const LAST: u16 = 32767;
/// Lowest ports that are left to users: `min(max(16, 2768/32), 128)`.
const STATIC_BAND: u16 = 86;

/// Why a port cannot be had; the texts are `portallocator`'s.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PortError {
    #[error("provided port is already allocated")]
    Allocated,
    #[error("provided port is not in the valid range. The range of valid ports is {FIRST}-{LAST}")]
    OutOfRange,
    #[error("range is full")]
    Full,
}

fn key(port: u16) -> Key {
    Key::internal("nodeports", &port.to_string())
}

fn put(transaction: &mut Transaction<'_>, port: u16) {
    transaction.put(&key(port), &mut json!({"metadata": {}}));
}

fn take(transaction: &mut Transaction<'_>, port: i64) -> Result<(), PortError> {
    let port =
        u16::try_from(port).ok().filter(|port| (FIRST..=LAST).contains(port)).ok_or(PortError::OutOfRange)?;
    if transaction.get(&key(port)).is_some() {
        return Err(PortError::Allocated);
    }
    put(transaction, port);
    Ok(())
}

fn take_any(transaction: &mut Transaction<'_>) -> Result<u16, PortError> {
    let free = |first: u16, last: u16| {
        let start = rand::rng().random_range(first..=last);
        (start..=last).chain(first..start).find(|port| transaction.get(&key(*port)).is_none())
    };
    let border = FIRST + STATIC_BAND;
    let port = free(border, LAST).or_else(|| free(FIRST, border - 1)).ok_or(PortError::Full)?;
    put(transaction, port);
    Ok(port)
}

/// Gives a port back.
fn release(transaction: &mut Transaction<'_>, port: i64) {
    let Ok(port) = u16::try_from(port) else { return };
    if let Some(mut entry) = transaction.value(&key(port)) {
        transaction.delete(&key(port), &mut entry);
    }
}

/// What taking ports for a Service failed with.
pub(super) enum Failure {
    /// The given port cannot be had.
    Field(Box<FieldError>),
    /// None is left.
    Internal(String),
}

fn number(port: &Value) -> i64 {
    port["nodePort"].as_i64().unwrap_or_default()
}

/// Node ports that a Service holds.
fn held(spec: &Value) -> Vec<i64> {
    let mut ports: Vec<i64> = list(spec, "ports").iter().map(number).collect();
    ports.push(spec["healthCheckNodePort"].as_i64().unwrap_or_default());
    ports.retain(|port| *port != 0);
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// True if ports of this Service that name none get one.
fn wants_ports(spec: &Value) -> bool {
    match spec["type"].as_str() {
        Some("NodePort") => true,
        Some("LoadBalancer") => spec["allocateLoadBalancerNodePorts"] != false,
        _ => false,
    }
}

/// True if ports of this Service may have node ports.
pub(super) fn has_ports(spec: &Value) -> bool {
    matches!(spec["type"].as_str(), Some("NodePort" | "LoadBalancer"))
}

/// True if the load balancer asks each node for the health of its endpoints.
pub(super) fn needs_health_check(spec: &Value) -> bool {
    spec["type"] == "LoadBalancer" && spec["externalTrafficPolicy"] == "Local"
}

/// Takes what `spec` names or wants and `old` does not hold, writes it in, and releases what only `old` holds.
pub(super) fn allocate(
    transaction: &mut Transaction<'_>,
    old: Option<&Value>,
    spec: &mut Value,
) -> Result<(), Failure> {
    let before = old.map(held).unwrap_or_default();
    if has_ports(spec) {
        allocate_ports(transaction, &before, spec)?;
    }
    if needs_health_check(spec) {
        allocate_health_check(transaction, &before, spec)?;
    }
    if has_ports(spec) || old.is_some_and(has_ports) {
        let after = if has_ports(spec) { held(spec) } else { Vec::new() };
        before.into_iter().filter(|port| !after.contains(port)).for_each(|port| release(transaction, port));
    }
    Ok(())
}

fn allocate_ports(
    transaction: &mut Transaction<'_>,
    before: &[i64],
    spec: &mut Value,
) -> Result<(), Failure> {
    let wants = wants_ports(spec);
    // One node port serves TCP and UDP of one port number, on create as upstream has it.
    let mut taken: Vec<(i64, i64)> = Vec::new();
    let requested: Vec<(i64, i64)> = list(spec, "ports")
        .iter()
        .map(|port| (port["port"].as_i64().unwrap_or_default(), number(port)))
        .collect();
    let Some(ports) = spec["ports"].as_array_mut() else { return Ok(()) };
    for (index, port) in ports.iter_mut().enumerate() {
        let service_port = requested[index].0;
        if number(port) == 0 && !wants {
            continue;
        }
        let shared = taken.iter().find(|(of, _)| *of == service_port).map(|(_, node)| *node);
        let asked =
            requested.iter().find(|(of, node)| *of == service_port && *node != 0).map(|(_, node)| *node);
        let wanted = match number(port) {
            0 => shared.or(asked).unwrap_or_default(),
            given => given,
        };
        let node_port = obtain(transaction, before, &taken, wanted, index, service_port)?;
        taken.push((service_port, node_port));
        port["nodePort"] = json!(node_port);
    }
    Ok(())
}

fn obtain(
    transaction: &mut Transaction<'_>,
    before: &[i64],
    taken: &[(i64, i64)],
    wanted: i64,
    index: usize,
    service_port: i64,
) -> Result<i64, Failure> {
    if wanted == 0 {
        let any = take_any(transaction);
        return any
            .map(i64::from)
            .map_err(|why| Failure::Internal(format!("failed to allocate a nodePort: {why}")));
    }
    let ours = before.contains(&wanted) || taken.contains(&(service_port, wanted));
    if !ours {
        take(transaction, wanted).map_err(|why| {
            let field = format!("spec.ports[{index}].nodePort");
            Failure::Field(Box::new(FieldError::invalid(field, wanted, why.to_string())))
        })?;
    }
    Ok(wanted)
}

fn allocate_health_check(
    transaction: &mut Transaction<'_>,
    before: &[i64],
    spec: &mut Value,
) -> Result<(), Failure> {
    let port = spec["healthCheckNodePort"].as_i64().unwrap_or_default();
    if port == 0 {
        let any = take_any(transaction).map_err(|why| {
            Failure::Internal(format!("failed to allocate a HealthCheck NodePort 0: {why}"))
        })?;
        spec["healthCheckNodePort"] = json!(any);
    } else if !before.contains(&port) {
        take(transaction, port).map_err(|why| {
            Failure::Internal(format!("failed to allocate requested HealthCheck NodePort {port}: {why}"))
        })?;
    }
    Ok(())
}

/// Gives back all that a Service holds.
pub(super) fn release_all(transaction: &mut Transaction<'_>, spec: &Value) {
    held(spec).into_iter().for_each(|port| release(transaction, port));
}
