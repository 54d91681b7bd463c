//! Keeps the EndpointSlice of `kube-system/kube-dns`: every Ready node answers DNS itself, at its InternalIP.
//!
//! A node's own traffic to the DNS address is answered on the node; these endpoints are where a node sends it
//! whose own server is down. The Service has no selector, so no other controller makes slices for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};

use super::action::Plan;
use super::cluster::{Change, Cluster, service_of};
use super::engine::{Controller, Now};
use super::object::{Key, Kind, Object, Target, controller_reference};
use super::slices::{Family, Port, SliceSet, Wanted, is_managed_by};

/// The maker's name in the label `managed-by`.
const NAME: &str = "cluster-dns.sluice";
/// Endpoints of one slice.
const CAPACITY: usize = 100;

/// The controller.
pub(super) struct ClusterDns;

impl Controller for ClusterDns {
    fn component(&self) -> &'static str {
        "cluster-dns"
    }

    fn wakes(&self, _: &Cluster, change: &Change, wake: &mut Vec<Target>) {
        let dns = service_key();
        let concerns = change.states().any(|state| match state {
            Object::Node(_) => {
                let (old, new) = change.of::<Node>();
                old.and_then(|node| address(node)) != new.and_then(|node| address(node))
            }
            Object::Service(_) => state.target().key == dns,
            Object::EndpointSlice(slice) => {
                is_managed_by(slice, NAME) && service_of(slice).as_ref() == Some(&dns)
            }
            _ => false,
        });
        if concerns {
            wake.push(Target { kind: Kind::Service, key: dns });
        }
    }

    fn plan(&self, cluster: &Cluster, target: &Target, _: Now) -> Plan {
        let mut plan = Plan::default();
        let Some(service) = cluster.get::<Service>(&target.key) else { return plan };
        if service.spec.as_ref().is_some_and(|spec| spec.selector.is_some()) {
            SliceSet::remove(&mut plan, cluster, &target.key, NAME);
            return plan;
        }
        let set = SliceSet {
            service: &target.key,
            owner: controller_reference(&**service),
            managed_by: NAME,
            labels: service.metadata.labels.clone().unwrap_or_default(),
            capacity: CAPACITY,
            changed: None,
            placeholder: true,
        };
        set.plan(&mut plan, cluster, BTreeMap::from([(Family::V4, wanted(cluster, service))]));
        plan
    }
}

fn service_key() -> Key {
    Key::new("kube-system", "kube-dns")
}

/// The IPv4 InternalIP of a node that is Ready.
fn address(node: &Node) -> Option<IpAddr> {
    let status = node.status.as_ref()?;
    let ready = status.conditions.as_ref()?.iter().any(|held| held.type_ == "Ready" && held.status == "True");
    let internal = status.addresses.as_ref()?.iter().filter(|address| address.type_ == "InternalIP");
    let addresses = internal.filter_map(|address| address.address.parse().ok());
    addresses.into_iter().find(|address: &IpAddr| ready && address.is_ipv4())
}

fn wanted(cluster: &Cluster, service: &Service) -> Wanted {
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut ports: Vec<_> = ports
        .map(|port| Port {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            number: Some(port.port),
            app_protocol: None,
        })
        .collect();
    ports.sort();
    let endpoints: Vec<_> = cluster.nodes.iter().filter_map(|node| endpoint(node)).collect();
    if endpoints.is_empty() { Wanted::new() } else { Wanted::from([(ports, endpoints)]) }
}

fn endpoint(node: &Node) -> Option<Endpoint> {
    Some(Endpoint {
        addresses: vec![address(node)?.to_string()],
        conditions: Some(EndpointConditions {
            ready: Some(true),
            serving: Some(true),
            terminating: Some(false),
        }),
        node_name: node.metadata.name.clone(),
        target_ref: Some(ObjectReference {
            kind: Some("Node".to_owned()),
            name: node.metadata.name.clone(),
            uid: node.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Endpoint::default()
    })
}
