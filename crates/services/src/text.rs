//! The model as text: what `sluice dump services` prints and what scenarios expect of the stage `services`.
//!
//! One block for each Service in name order, its ports, then its slices in name order with their endpoints. Defaults
//! are not printed, so that a line says only what is particular.

use std::fmt;

use crate::{Endpoint, Exposure, Service, ServiceName, ServiceState, Slice, Snapshot, TrafficPolicy};

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut services: Vec<_> = self.services.iter().collect();
        services.sort_unstable_by_key(|(name, _)| *name);
        for (name, state) in services {
            write_state(f, name, state)?;
        }
        Ok(())
    }
}

fn write_state(f: &mut fmt::Formatter<'_>, name: &ServiceName, state: &ServiceState) -> fmt::Result {
    match &state.service {
        Some(service) => write_service(f, name, service)?,
        None => writeln!(f, "service {name} unknown")?,
    }
    state.slices.iter().try_for_each(|slice| write_slice(f, slice))
}

fn write_service(f: &mut fmt::Formatter<'_>, name: &ServiceName, service: &Service) -> fmt::Result {
    write!(f, "service {name}")?;
    match &service.exposure {
        Exposure::ClusterIps(ips) => ips.iter().try_for_each(|ip| write!(f, " {ip}"))?,
        Exposure::Headless => f.write_str(" headless")?,
        Exposure::ExternalName(target) => write!(f, " external {target}")?,
    }
    if service.internal_policy == TrafficPolicy::Local {
        f.write_str(" internal=local")?;
    }
    if service.external_policy == TrafficPolicy::Local {
        f.write_str(" external=local")?;
    }
    if let Some(seconds) = service.affinity_seconds {
        write!(f, " affinity={seconds}s")?;
    }
    let outside = service.outside();
    write_list(f, "external-ips", &outside.external_ips)?;
    write_list(f, "load-balancer", &outside.load_balancer_ips)?;
    write_list(f, "sources", &outside.source_ranges)?;
    if let Some(port) = outside.health_check_node_port {
        write!(f, " health-check={port}")?;
    }
    f.write_str(if service.proxied { "\n" } else { " proxied-by-another\n" })?;
    for port in service.ports.iter() {
        write!(f, "  port {} {}{}", port.protocol, port.port, named(&port.name))?;
        match port.node_port {
            Some(number) => writeln!(f, " node-port={number}")?,
            None => writeln!(f)?,
        }
    }
    Ok(())
}

fn write_list(f: &mut fmt::Formatter<'_>, key: &str, list: &[impl fmt::Display]) -> fmt::Result {
    for (index, item) in list.iter().enumerate() {
        if index == 0 {
            write!(f, " {key}={item}")?;
        } else {
            write!(f, ",{item}")?;
        }
    }
    Ok(())
}

fn write_slice(f: &mut fmt::Formatter<'_>, slice: &Slice) -> fmt::Result {
    write!(f, "  slice {}", slice.name.name())?;
    for (index, port) in slice.ports.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma} {} {}{}", port.protocol, port.port, named(&port.name))?;
    }
    writeln!(f)?;
    slice.endpoints.iter().try_for_each(|endpoint| write_endpoint(f, &endpoint))
}

fn write_endpoint(f: &mut fmt::Formatter<'_>, endpoint: &Endpoint<'_>) -> fmt::Result {
    write!(f, "    {}{}", endpoint.address, condition(endpoint))?;
    let (node, zone) = (endpoint.node.map(AsRef::as_ref), endpoint.zone.map(AsRef::as_ref));
    let texts = [("node", node), ("zone", zone), ("hostname", endpoint.hostname), ("pod", endpoint.pod)];
    for (key, value) in texts {
        if let Some(value) = value {
            write!(f, " {key}={value}")?;
        }
    }
    if !endpoint.proxied {
        f.write_str(" dns-only")?;
    }
    for (key, hints) in [("for-zones", endpoint.for_zones), ("for-nodes", endpoint.for_nodes)] {
        if !hints.is_empty() {
            write!(f, " {key}={}", hints.join(","))?;
        }
    }
    writeln!(f)
}

/// A ready endpoint is the normal case and needs no word.
fn condition(endpoint: &Endpoint<'_>) -> &'static str {
    match (endpoint.ready, endpoint.serving, endpoint.terminating) {
        (true, _, false) => "",
        (true, _, true) => " ready,terminating",
        (false, true, true) => " serving,terminating",
        (false, false, true) => " terminating",
        (false, _, false) => " not-ready",
    }
}

fn named(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" {name}") }
}
