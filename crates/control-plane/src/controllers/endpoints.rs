//! Service and pods → the one Endpoints object of each Service, for clients that still read it (deprecated
//! since 1.33).
//!
//! Only the primary family; terminating pods are left out. At most [`CAPACITY`] addresses, the ready ones
//! first. Endpoints of Services without a selector are their author's; with the Service they go too.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};

use super::action::{Plan, Verb};
use super::cluster::{Change, Cluster};
use super::endpoint_slices::{addresses, pod_reference};
use super::engine::{Controller, Now};
use super::object::{Kind, Object, Target};
use super::slices::{HEADLESS, TRIGGER_TIME};
use super::{pod, selection};

/// Label and value that mark Endpoints as made here (1.33).
pub(super) const MANAGED_BY: (&str, &str) = ("endpoints.kubernetes.io/managed-by", "endpoint-controller");
/// Annotation that says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// Addresses of one Endpoints object.
const CAPACITY: usize = 1000;

/// The controller.
pub(super) struct EndpointsOfServices;

impl Controller for EndpointsOfServices {
    fn component(&self) -> &'static str {
        "endpoint-controller"
    }

    fn wakes(&self, cluster: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        selection::wakes(cluster, change, wake);
        for state in change.states().filter(|state| state.kind() == Kind::Endpoints) {
            if state.meta().labels.as_ref().is_some_and(|labels| labels.contains_key(MANAGED_BY.0)) {
                wake.push(Target { kind: Kind::Service, key: state.target().key });
            }
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let held = cluster.get::<Endpoints>(&target.key);
        let Some(service) = cluster.get::<Service>(&target.key) else {
            if let Some(held) = held {
                let uid = held.metadata.uid.clone().unwrap_or_default();
                let target = Target { kind: Kind::Endpoints, key: target.key.clone() };
                plan.then(Verb::Delete { target, uid, grace: None, foreground: false });
            }
            return plan;
        };
        let Some(pods) = selection::pods_of(cluster, service) else { return plan };
        let (subsets, truncated) = subsets(service, &pods);
        write(&mut plan, service, held, subsets, truncated, selection::changed(service, &pods));
        plan
    }
}

fn write(
    plan: &mut Plan,
    service: &Service,
    held: Option<&Arc<Endpoints>>,
    subsets: Vec<EndpointSubset>,
    truncated: bool,
    changed: Option<Timestamp>,
) {
    let labels = labels(service);
    let is_truncated = |held: &Endpoints| {
        held.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(OVER_CAPACITY))
    };
    let same = held.is_some_and(|held| {
        held.subsets.as_deref().unwrap_or_default() == subsets
            && held.metadata.labels.as_ref() == Some(&labels)
            && is_truncated(held) == truncated
    });
    if same {
        return;
    }
    let mut after = held.map(|held| Endpoints::clone(held)).unwrap_or_default();
    after.metadata.namespace = service.metadata.namespace.clone();
    after.metadata.name = service.metadata.name.clone();
    after.metadata.labels = Some(labels);
    after.subsets = Some(subsets);
    let annotations = after.metadata.annotations.get_or_insert_default();
    let mut note = |key: &str, value: Option<String>| match value {
        Some(value) => drop(annotations.insert(key.to_owned(), value)),
        None => drop(annotations.remove(key)),
    };
    note(TRIGGER_TIME, changed.map(|time| time.to_string()));
    note(OVER_CAPACITY, truncated.then(|| "truncated".to_owned()));
    let object = Object::new(after);
    plan.then(if held.is_some() { Verb::Replace(object) } else { Verb::Create(object) });
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if selection::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.0.to_owned(), MANAGED_BY.1.to_owned());
    labels
}

/// Name, protocol, number, application protocol.
type Ports = Vec<(String, String, i32, Option<String>)>;

/// One subset for each set of ports that pods have, and whether addresses had to be left out.
fn subsets(service: &Service, pods: &[&Pod]) -> (Vec<EndpointSubset>, bool) {
    let everything = selection::publishes_not_ready(service);
    let eligible = pods.iter().filter(|pod| everything || pod.metadata.deletion_timestamp.is_none());
    let mut found: Vec<_> = eligible
        .filter_map(|pod| {
            let address = primary_address(service, pod)?;
            let ports = ports(service, pod).filter(|ports| !ports.is_empty() || has_no_ports(service))?;
            Some((everything || pod::is_ready(pod), address, ports, *pod))
        })
        .collect();
    found.sort_by_key(|(ready, address, ..)| (!ready, *address));
    let truncated = found.len() > CAPACITY;
    found.truncate(CAPACITY);
    let mut subsets: BTreeMap<Ports, EndpointSubset> = BTreeMap::new();
    for (ready, address, ports, pod) in found {
        let subset = subsets.entry(ports).or_default();
        let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(endpoint_address(service, pod, address));
    }
    let with_ports = subsets.into_iter().map(|(ports, mut subset)| {
        subset.ports =
            Some(ports.into_iter().map(endpoint_port).collect()).filter(|ports: &Vec<_>| !ports.is_empty());
        subset
    });
    (with_ports.collect(), truncated)
}

fn has_no_ports(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty)
}

fn primary_address(service: &Service, pod: &Pod) -> Option<IpAddr> {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    let wants_v6 = families.and_then(|families| families.first()).is_some_and(|family| family == "IPv6");
    addresses(pod).find(|address| address.is_ipv6() == wants_v6)
}

fn ports(service: &Service, pod: &Pod) -> Option<Ports> {
    let ports = service.spec.as_ref()?.ports.iter().flatten();
    let resolved = ports.filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let number = selection::target_port(port, pod)?;
        Some((port.name.clone().unwrap_or_default(), protocol, number, port.app_protocol.clone()))
    });
    let mut resolved: Ports = resolved.collect();
    resolved.sort();
    Some(resolved)
}

fn endpoint_port(
    (name, protocol, port, app_protocol): (String, String, i32, Option<String>),
) -> EndpointPort {
    EndpointPort {
        name: Some(name).filter(|name| !name.is_empty()),
        protocol: Some(protocol),
        port,
        app_protocol,
    }
}

fn endpoint_address(service: &Service, pod: &Pod, address: IpAddr) -> EndpointAddress {
    EndpointAddress {
        ip: address.to_string(),
        hostname: selection::hostname(service, pod),
        node_name: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).filter(|name| !name.is_empty()),
        target_ref: Some(pod_reference(pod)),
    }
}

#[cfg(test)]
mod tests;
