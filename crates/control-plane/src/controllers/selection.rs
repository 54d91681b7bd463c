//! Services and the pods they select: what EndpointSlices and Endpoints are both made of.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Node, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::cluster::{Change, Cluster};
use super::endpoint_slices::ZONE_LABEL;
use super::label_selector;
use super::object::{Key, Kind, Object, Target};
use super::pod;

/// Names the Services whose endpoints may change: the Service itself, and those that select or selected a
/// pod.
pub(super) fn wakes(cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
    match change.new.as_ref().or(change.old.as_ref()) {
        Some(Object::Service(_)) => wake.extend(change.states().map(Object::target)),
        Some(Object::Pod(_)) => {
            for pod in change.states().filter_map(Object::get::<Pod>) {
                wake.extend(services_of(cluster, pod));
            }
        }
        Some(Object::Node(_)) => {
            let (old, new) = change.of::<Node>();
            if old.map(|node| zone(node)) != new.map(|node| zone(node)) {
                let name = change.states().filter_map(|node| node.meta().name.as_deref()).next();
                let pods = cluster.pods_on(name.unwrap_or_default());
                wake.extend(pods.flat_map(|pod| services_of(cluster, pod)));
            }
        }
        _ => {}
    }
}

fn zone(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE_LABEL)
}

fn services_of(cluster: &Cluster, pod: &Pod) -> Vec<Target> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref();
    let selecting = cluster.services.in_namespace(namespace).filter(|service| {
        selector(service).is_some_and(|selector| label_selector::contains_all(labels, selector))
    });
    selecting.map(|service| Target { kind: Kind::Service, key: Key::of(&service.metadata) }).collect()
}

fn selector(service: &Service) -> Option<&std::collections::BTreeMap<String, String>> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"))?;
    spec.selector.as_ref().filter(|selector| !selector.is_empty())
}

/// The pods that are, or could be, endpoints, by name; `None` if the Service selects none.
pub(super) fn pods_of<'a>(cluster: &'a Cluster, service: &'a Service) -> Option<Vec<&'a Pod>> {
    let selector = selector(service)?;
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let selected = cluster.pods.in_namespace(namespace).map(|pod| &**pod).filter(|pod| {
        let has_address = pod.status.as_ref().is_some_and(|status| status.pod_ip.is_some());
        has_address
            && !pod::is_finished(pod)
            && label_selector::contains_all(pod.metadata.labels.as_ref(), selector)
    });
    Some(selected.collect())
}

/// True if pods count before they are ready, and while they end.
pub(super) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// True if the Service has no virtual IP.
pub(super) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    address.is_empty() || address == "None"
}

/// The name that the pod has below the Service's name, if it wants one there.
pub(super) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.clone().filter(|name| !name.is_empty())?;
    (spec.subdomain == service.metadata.name).then_some(hostname)
}

/// The number of a port on this pod; `None` if it is a name that the pod does not have.
pub(super) fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None | Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => named_port(pod, name, port.protocol.as_deref().unwrap_or("TCP")),
    }
}

fn named_port(pod: &Pod, name: &str, protocol: &str) -> Option<i32> {
    let spec = pod.spec.as_ref()?;
    let restartable = |container: &&Container| container.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(restartable);
    let ports = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mut named = ports.filter(|port| {
        port.name.as_deref() == Some(name) && port.protocol.as_deref().unwrap_or("TCP") == protocol
    });
    named.next().map(|port| port.container_port)
}

/// When the endpoints last changed, as far as the objects tell: the latest change of a pod's readiness, or
/// the Service's creation.
pub(super) fn changed(service: &Service, pods: &[&Pod]) -> Option<Timestamp> {
    let turned = |pod: &&Pod| Some(pod::condition(pod, "Ready")?.last_transition_time.as_ref()?.0);
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    pods.iter().filter_map(turned).max().max(created)
}
