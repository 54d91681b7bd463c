//! One pod as an endpoint of one Service.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};

use super::ZONE_LABEL;
use crate::controllers::slices::{Family, Port};
use crate::controllers::{pod, selection};

/// The endpoint; `None` if the pod has no address of this family.
pub(super) fn endpoint(
    service: &Service,
    pod: &Pod,
    node: Option<&Node>,
    family: Family,
) -> Option<Endpoint> {
    let spec = pod.spec.as_ref()?;
    let address = addresses(pod).find(|address| Family::of(*address) == family)?;
    let serving = pod::is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = selection::publishes_not_ready(service) || (serving && !terminating);
    let zone = node.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE_LABEL).cloned());
    Some(Endpoint {
        addresses: vec![address.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: selection::hostname(service, pod),
        node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
        target_ref: Some(pod_reference(pod)),
        zone,
        ..Endpoint::default()
    })
}

/// The pod's addresses, the primary one first.
pub(crate) fn addresses(pod: &Pod) -> impl Iterator<Item = IpAddr> {
    let status = pod.status.as_ref();
    let all = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    let primary = status.and_then(|status| status.pod_ip.as_ref());
    primary.into_iter().chain(all.map(|ip| &ip.ip)).filter_map(|text| text.parse().ok())
}

/// A pod as the target of an endpoint.
pub(crate) fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The Service's ports as this pod has them, in order. A named port that the pod lacks is left out.
pub(super) fn ports(service: &Service, pod: &Pod) -> Vec<Port> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let resolved = ports.filter_map(|port| {
        Some(Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            number: Some(selection::target_port(port, pod)?),
            app_protocol: port.app_protocol.clone(),
        })
    });
    let mut resolved: Vec<_> = resolved.collect();
    resolved.sort();
    resolved
}
