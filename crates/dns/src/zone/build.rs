//! From the model's Service and slices to records: what exists, what is left out, and the reverse names that follow.

use std::sync::Arc;

use services::{Exposure, Service, ServiceName, ServiceState, Slice, SlicePort, Snapshot};

use super::endpoints::{self, Listed, PortSet};
use super::{
    ClusterIps, Endpoints, Kind, Port, Ports, ServiceKey, ServiceRecords, SharedRecords, Zone, ZoneConfig,
};
use crate::name::LABEL_BYTES_MAX;

impl Zone {
    /// Brings the names of one Service up to what `snapshot` says. True when an answer may differ.
    pub(super) fn apply(&mut self, snapshot: &Snapshot, name: &ServiceName) -> bool {
        let Some(key) = ServiceKey::new(name) else { return false };
        let state = snapshot.services.get(name).filter(|_| self.config.exposes(name.namespace()));
        let new = state.and_then(|state| read_service(&self.config, &key, state));
        let old = self.services.get(key.as_bytes()).cloned();
        if old.as_deref() == new.as_ref() {
            return false;
        }
        self.reverse.replace(&key, old.as_deref(), new.as_ref());
        match new {
            Some(new) => self.services.insert(SharedRecords::new(new)),
            None => self.services.remove(key.as_bytes()),
        }
        true
    }
}

/// The records of a Service; `None` when it has no names. A headless Service without ready endpoints has none
/// (specification 2.4.1).
fn read_service(config: &ZoneConfig, key: &ServiceKey, state: &ServiceState) -> Option<ServiceRecords> {
    let service = state.service.as_ref()?;
    let endpoints = match service.exposure {
        Exposure::ExternalName(_) => Endpoints::default(),
        _ => read_endpoints(config, state),
    };
    let kind = match &service.exposure {
        Exposure::ClusterIps(_) if config.ignore_empty_service && endpoints.is_empty() => return None,
        Exposure::ClusterIps(addresses) => {
            Kind::ClusterIps { addresses: ClusterIps::new(addresses), ports: read_ports(service) }
        }
        Exposure::Headless if endpoints.is_empty() => return None,
        Exposure::Headless => Kind::Headless,
        // An address is no name to point to, whatever the field is called.
        Exposure::ExternalName(target) if target.parse::<std::net::IpAddr>().is_ok() || target.is_empty() => {
            return None;
        }
        Exposure::ExternalName(target) => Kind::ExternalName(target.parse().ok()?),
    };
    Some(ServiceRecords::new(key, kind, endpoints))
}

fn read_ports(service: &Service) -> Ports {
    let names: Vec<_> = service.ports.iter().map(|port| lower(&port.name)).collect();
    let ports = service.ports.iter().zip(&names);
    ports
        .map(|(port, name)| Port { name: name.as_bytes(), protocol: port.protocol, number: port.port })
        .collect()
}

fn read_endpoints(config: &ZoneConfig, state: &ServiceState) -> Endpoints {
    let mut sets: Vec<PortSet> = Vec::new();
    let mut list = Vec::with_capacity(state.slices.iter().map(|slice| slice.endpoints.len()).sum());
    for slice in &state.slices {
        let set = endpoints::intern(&mut sets, slice_ports(slice));
        let ready = slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        list.extend(ready.map(|endpoint| Listed {
            address: endpoint.address,
            host: host_name(config, &endpoint),
            ports: set,
        }));
    }
    Endpoints::new(list, sets)
}

/// The ports of a slice, their names in lower case.
fn slice_ports(slice: &Slice) -> Arc<[SlicePort]> {
    if slice.ports.iter().all(|port| is_lower(&port.name)) {
        return Arc::clone(&slice.ports);
    }
    slice.ports.iter().map(|port| SlicePort { name: lower(&port.name), ..port.clone() }).collect()
}

/// The explicit name of an endpoint: its hostname, else its pod's name when so configured and short enough.
fn host_name(config: &ZoneConfig, endpoint: &services::Endpoint<'_>) -> Option<Arc<str>> {
    let pod = endpoint.pod.filter(|_| config.endpoint_pod_names);
    let host = endpoint.hostname.or(pod)?;
    let is_label = (1..=LABEL_BYTES_MAX).contains(&host.len()) && !host.contains('.');
    is_label.then(|| host.to_ascii_lowercase().into())
}

/// Lower case; the same allocation when it is so already, which Kubernetes promises.
fn lower(text: &Arc<str>) -> Arc<str> {
    if is_lower(text) { Arc::clone(text) } else { text.to_ascii_lowercase().into() }
}

fn is_lower(text: &str) -> bool {
    !text.bytes().any(|byte| byte.is_ascii_uppercase())
}
