//! Endpoints that a person wrote for a Service without selector → EndpointSlices, because proxies read
//! nothing else.
//!
//! Not mirrored: Endpoints with the label `endpointslice.kubernetes.io/skip-mirror: "true"`, those of
//! Services with a selector, and those without a Service.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};

use super::action::Plan;
use super::cluster::{Change, Cluster, SERVICE_NAME_LABEL, service_of};
use super::engine::{Controller, Now};
use super::object::{Kind, Object, Target, controller_reference};
use super::slices::{Family, MANAGED_BY, Port, SliceSet, Wanted, is_managed_by};

const NAME: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Addresses of one subset that are mirrored; also what one slice may hold.
const CAPACITY: usize = 1000;

/// The controller.
pub(super) struct Mirroring;

impl Controller for Mirroring {
    fn component(&self) -> &'static str {
        "endpoint-slice-mirroring-controller"
    }

    fn wakes(&self, _: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        for state in change.states() {
            let key = match state {
                Object::Service(_) | Object::Endpoints(_) => Some(state.target().key),
                Object::EndpointSlice(slice) => service_of(slice).filter(|_| is_managed_by(slice, NAME)),
                _ => None,
            };
            wake.extend(key.map(|key| Target { kind: Kind::Endpoints, key }));
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let endpoints = cluster.get::<Endpoints>(&target.key).filter(|endpoints| is_mirrored(endpoints));
        let service = cluster.get::<Service>(&target.key).filter(|service| has_no_selector(service));
        let Some((endpoints, _)) = endpoints.zip(service) else {
            SliceSet::remove(&mut plan, cluster, &target.key, NAME);
            return plan;
        };
        let set = SliceSet {
            service: &target.key,
            owner: controller_reference(&**endpoints),
            managed_by: NAME,
            labels: labels(endpoints),
            capacity: CAPACITY,
            changed: None,
            placeholder: false,
        };
        set.plan(&mut plan, cluster, wanted(endpoints));
        plan
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let skipped = labels.and_then(|labels| labels.get(SKIP)).is_some_and(|value| value == "true");
    let made = labels.is_some_and(|labels| labels.contains_key(super::endpoints::MANAGED_BY.0));
    !skipped && !made && endpoints.metadata.deletion_timestamp.is_none()
}

fn has_no_selector(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.selector.as_ref().is_none_or(BTreeMap::is_empty) && spec.type_.as_deref() != Some("ExternalName")
    })
}

fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| !matches!(key.as_str(), MANAGED_BY | SERVICE_NAME_LABEL));
    labels
}

fn wanted(endpoints: &Endpoints) -> BTreeMap<Family, Wanted> {
    let mut families: BTreeMap<Family, Wanted> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        for (address, ready) in addresses(subset).take(CAPACITY) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let wanted = families.entry(Family::of(ip)).or_default();
            wanted.entry(ports.clone()).or_default().push(endpoint(address, ready));
        }
    }
    families
}

fn addresses(subset: &EndpointSubset) -> impl Iterator<Item = (&EndpointAddress, bool)> {
    let ready = subset.addresses.iter().flatten().map(|address| (address, true));
    ready.chain(subset.not_ready_addresses.iter().flatten().map(|address| (address, false)))
}

fn ports(subset: &EndpointSubset) -> Vec<Port> {
    let port = |port: &k8s_openapi::api::core::v1::EndpointPort| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        number: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    };
    let mut ports: Vec<_> = subset.ports.iter().flatten().map(port).collect();
    ports.sort();
    ports
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), serving: None, terminating: None }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}
