//! Topology hints from `spec.trafficDistribution` (KEP-4444, KEP-3015). The annotation `topology-mode: Auto`,
//! which weighs zones by their CPUs, is not followed: such a Service has no hints, which is a state that it
//! allows.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone};

use crate::controllers::slices::Wanted;

/// Sets the hints of all ready endpoints.
pub(super) fn apply(service: &Service, wanted: &mut Wanted) {
    let distribution = service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    let (zones, nodes) = match distribution {
        Some("PreferClose" | "PreferSameZone") => (true, false),
        Some("PreferSameNode") => (true, true),
        _ => return,
    };
    for endpoint in wanted.values_mut().flatten().filter(|endpoint| is_ready(endpoint)) {
        let zone = endpoint.zone.clone().filter(|_| zones);
        let node = endpoint.node_name.clone().filter(|_| nodes);
        if zone.is_none() && node.is_none() {
            continue;
        }
        endpoint.hints = Some(EndpointHints {
            for_zones: zone.map(|name| vec![ForZone { name }]),
            for_nodes: node.map(|name| vec![ForNode { name }]),
        });
    }
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
}
