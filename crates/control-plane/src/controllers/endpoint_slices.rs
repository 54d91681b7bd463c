//! Service and pods → EndpointSlices (at most 100 endpoints each), as Kubernetes' endpointslice controller
//! makes them.
//!
//! For Services with a selector. Ready is what passes its checks and is not terminating; terminating pods
//! stay in until they are gone, so that traffic can drain. Named target ports are resolved pod by pod. A
//! Service without pods has one slice without endpoints. The slices of a deleted Service go by their owner
//! reference.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, Service};

use super::action::Plan;
use super::cluster::{Change, Cluster, SERVICE_NAME_LABEL, service_of};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Object, Target, controller_reference};
use super::selection;
use super::slices::{Family, HEADLESS, MANAGED_BY, SliceSet, Wanted, is_managed_by};

mod endpoint;
mod hints;

pub(super) use endpoint::{addresses, pod_reference};

/// Value of the label `managed-by`.
pub(super) const NAME: &str = "endpointslice-controller.k8s.io";
/// Endpoints of one slice (`--max-endpoints-per-slice`).
const CAPACITY: usize = 100;
/// Label of a node that names its zone.
pub(super) const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// The controller.
pub(super) struct EndpointSlices;

impl Controller for EndpointSlices {
    fn component(&self) -> &'static str {
        "endpoint-slice-controller"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        selection::wakes(cluster, change, wake);
        for state in change.states() {
            let Object::EndpointSlice(slice) = state else { continue };
            let key = service_of(slice).filter(|_| is_managed_by(slice, NAME));
            wake.extend(key.map(|key| Target { kind: Kind::Service, key }));
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(service) = cluster.get::<Service>(&target.key) else { return plan };
        let Some(pods) = selection::pods_of(cluster, service) else { return plan };
        if service.metadata.deletion_timestamp.is_some() {
            return plan;
        }
        let wanted =
            families(service).into_iter().map(|family| (family, wanted(cluster, service, &pods, family)));
        let set = SliceSet {
            service: &target.key,
            owner: controller_reference(&**service),
            managed_by: NAME,
            labels: labels(service),
            capacity: CAPACITY,
            changed: selection::changed(service, &pods),
            placeholder: true,
        };
        set.plan(&mut plan, cluster, wanted.collect());
        plan
    }
}

/// The Service's families; IPv4 if it does not say.
fn families(service: &Service) -> Vec<Family> {
    let named = service.spec.as_ref().and_then(|spec| spec.ip_families.clone()).unwrap_or_default();
    let families =
        [Family::V4, Family::V6].into_iter().filter(|family| named.iter().any(|name| name == family.name()));
    let families: Vec<_> = families.collect();
    if families.is_empty() { vec![Family::V4] } else { families }
}

fn wanted(cluster: &Cluster, service: &Service, pods: &[&Pod], family: Family) -> Wanted {
    let mut wanted = Wanted::new();
    for pod in pods {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        let node = cluster.get::<Node>(&Key::new("", node));
        // A pod of a node that is not known yet comes back with the node's event.
        if node.is_none() && !selection::publishes_not_ready(service) {
            continue;
        }
        if let Some(endpoint) = endpoint::endpoint(service, pod, node.map(|node| &**node), family) {
            wanted.entry(endpoint::ports(service, pod)).or_default().push(endpoint);
        }
    }
    hints::apply(service, &mut wanted);
    wanted
}

/// The Service's labels, without those that have a meaning on slices.
fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| !matches!(key.as_str(), HEADLESS | MANAGED_BY | SERVICE_NAME_LABEL));
    if selection::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

#[cfg(test)]
mod tests;
