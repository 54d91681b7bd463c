//! The one mutable thing of the crate: applies objects, remembers which keys they changed, hands out snapshots.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    Changes, Endpoint, Exposure, Node, Protocol, Service, ServiceName, ServicePort, ServiceState, Slice,
    SlicePort, Snapshot, TrafficPolicy,
};

/// Label that joins a slice to its Service.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Label that hands a Service to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Label with a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_DEFAULT_SECONDS: u64 = 10_800;

/// Why an object is left out. The object's last good state is dropped too: a wrong answer is worse than none.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Skipped {
    /// The object has no name or namespace.
    #[error("{kind} without a name or namespace is skipped")]
    Nameless {
        /// Kind of the object.
        kind: &'static str,
    },
    /// A field does not hold what Kubernetes promises.
    #[error("{kind} {name} is skipped: {field}: {value:?} is not {expected}")]
    Field {
        /// Kind of the object.
        kind: &'static str,
        /// `namespace/name`.
        name: String,
        /// Path of the field.
        field: &'static str,
        /// What it holds.
        value: String,
        /// What it should hold.
        expected: &'static str,
    },
}

/// Joins Services, EndpointSlices, Nodes and Namespaces. Applying an object twice is no change; order never matters.
#[derive(Debug, Default)]
pub struct Model {
    snapshot: Snapshot,
    changes: Changes,
    /// The Service that a slice belongs to, by namespace and slice name: a DELETE names only the slice, and a slice
    /// may be relabelled to another Service.
    owners: HashMap<ServiceName, ServiceName>,
}

impl Model {
    /// An empty model.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state as of now. O(1).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    /// The keys changed since the last call, which are thereby forgotten.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// Adds or replaces a Service.
    ///
    /// # Errors
    /// [`Skipped`] when the object cannot be understood; the Service then counts as absent.
    pub fn apply_service(&mut self, object: &core::Service) -> Result<(), Skipped> {
        let name = object_name("Service", &object.metadata)?;
        match read_service(&name, object) {
            Ok(service) => {
                self.edit(&name, |state| state.service = Some(service));
                Ok(())
            }
            Err(skipped) => {
                self.delete_service(&name);
                Err(skipped)
            }
        }
    }

    /// Removes a Service; its slices stay until they are deleted themselves.
    pub fn delete_service(&mut self, name: &ServiceName) {
        self.edit(name, |state| state.service = None);
    }

    /// Adds or replaces an EndpointSlice. A slice of no Service, or of FQDNs, is as good as none.
    ///
    /// # Errors
    /// [`Skipped`] when the object cannot be understood; the slice then counts as absent.
    pub fn apply_slice(&mut self, object: &discovery::EndpointSlice) -> Result<(), Skipped> {
        let name = object_name("EndpointSlice", &object.metadata)?;
        let slice = match read_slice(&name, object) {
            Ok(slice) => slice,
            Err(skipped) => {
                self.delete_slice(&name);
                return Err(skipped);
            }
        };
        let label = object.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME_LABEL));
        let owner = label.map(|service| ServiceName::new(Arc::clone(&name.namespace), service.as_str()));
        if self.owners.get(&name) != owner.as_ref() {
            self.delete_slice(&name);
        }
        if let Some(owner) = owner {
            self.edit(&owner, |state| {
                // An equal slice keeps its allocation, so that consumers may compare by pointer.
                if state.slices.get(&name.name).is_none_or(|old| **old != slice) {
                    state.slices.insert(Arc::clone(&name.name), Arc::new(slice));
                }
            });
            self.owners.insert(name, owner);
        }
        Ok(())
    }

    /// Removes the EndpointSlice of this namespace and name.
    pub fn delete_slice(&mut self, name: &ServiceName) {
        if let Some(owner) = self.owners.remove(name) {
            self.edit(&owner, |state| {
                state.slices.remove(&name.name);
            });
        }
    }

    /// Adds or replaces a Node. Addresses and CIDRs that do not parse are left out: the rest is of use.
    pub fn apply_node(&mut self, object: &core::Node) {
        let Some(name) = object.metadata.name.as_deref() else { return };
        let node = read_node(object);
        if self.snapshot.nodes.get(name).is_none_or(|old| **old != node) {
            let name: Arc<str> = name.into();
            self.snapshot.nodes.insert_mut(Arc::clone(&name), Arc::new(node));
            self.changes.nodes.insert(name);
        }
    }

    /// Removes a Node.
    pub fn delete_node(&mut self, name: &str) {
        if self.snapshot.nodes.remove_mut(name) {
            self.changes.nodes.insert(name.into());
        }
    }

    /// Adds a Namespace.
    pub fn apply_namespace(&mut self, name: &str) {
        if !self.snapshot.namespaces.contains(name) {
            let name: Arc<str> = name.into();
            self.snapshot.namespaces.insert_mut(Arc::clone(&name));
            self.changes.namespaces.insert(name);
        }
    }

    /// Removes a Namespace.
    pub fn delete_namespace(&mut self, name: &str) {
        if self.snapshot.namespaces.remove_mut(name) {
            self.changes.namespaces.insert(name.into());
        }
    }

    /// Names of all slices that are known, for the comparison with a new list.
    pub fn slice_names(&self) -> impl Iterator<Item = &ServiceName> {
        self.owners.keys()
    }

    /// Changes one state, drops it when empty, and notes the key only if something differs.
    fn edit(&mut self, name: &ServiceName, change: impl FnOnce(&mut ServiceState)) {
        let old = self.snapshot.services.get(name);
        let mut state = old.map(|state| ServiceState::clone(state)).unwrap_or_default();
        change(&mut state);
        let empty = state.service.is_none() && state.slices.is_empty();
        match old {
            None if empty => return,
            Some(old) if **old == state => return,
            _ => {}
        }
        if empty {
            self.snapshot.services.remove_mut(name);
        } else {
            self.snapshot.services.insert_mut(name.clone(), Arc::new(state));
        }
        self.changes.services.insert(name.clone());
    }
}

fn object_name(kind: &'static str, metadata: &ObjectMeta) -> Result<ServiceName, Skipped> {
    match (metadata.namespace.as_deref(), metadata.name.as_deref()) {
        (Some(namespace), Some(name)) => Ok(ServiceName::new(namespace, name)),
        _ => Err(Skipped::Nameless { kind }),
    }
}

/// A bad field of one object.
struct Field<'a> {
    kind: &'static str,
    name: &'a ServiceName,
}

impl Field<'_> {
    fn skip(&self, field: &'static str, value: impl ToString, expected: &'static str) -> Skipped {
        let (name, value) = (self.name.to_string(), value.to_string());
        Skipped::Field { kind: self.kind, name, field, value, expected }
    }

    fn address(&self, field: &'static str, text: &str) -> Result<IpAddr, Skipped> {
        text.parse().map_err(|_| self.skip(field, text, "an IP address"))
    }

    fn port(&self, field: &'static str, number: i32) -> Result<u16, Skipped> {
        let port = u16::try_from(number).ok().filter(|port| *port != 0);
        port.ok_or_else(|| self.skip(field, number, "a port between 1 and 65535"))
    }

    fn protocol(&self, field: &'static str, text: Option<&str>) -> Result<Protocol, Skipped> {
        let text = text.unwrap_or("TCP");
        Protocol::parse(text).ok_or_else(|| self.skip(field, text, "TCP, UDP or SCTP"))
    }
}

fn read_service(name: &ServiceName, object: &core::Service) -> Result<Service, Skipped> {
    let field = Field { kind: "Service", name };
    let spec = object.spec.as_ref().ok_or_else(|| field.skip("spec", "", "a Service's spec"))?;
    let labels = object.metadata.labels.as_ref();
    Ok(Service {
        exposure: read_exposure(&field, spec)?,
        ports: spec.ports.iter().flatten().map(|port| read_port(&field, port)).collect::<Result<_, _>>()?,
        internal_policy: read_policy(spec.internal_traffic_policy.as_deref()),
        external_policy: read_policy(spec.external_traffic_policy.as_deref()),
        affinity: read_affinity(spec),
        proxied: !labels.is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL)),
    })
}

fn read_exposure(field: &Field<'_>, spec: &core::ServiceSpec) -> Result<Exposure, Skipped> {
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref().unwrap_or_default();
        return Ok(Exposure::ExternalName(target.trim_end_matches('.').into()));
    }
    let listed: Vec<&str> = match (&spec.cluster_ips, spec.cluster_ip.as_deref()) {
        (Some(ips), _) if !ips.is_empty() => ips.iter().map(String::as_str).collect(),
        (_, Some(ip)) if !ip.is_empty() => vec![ip],
        _ => return Err(field.skip("spec.clusterIP", "", "an IP address or \"None\" (not allocated yet?)")),
    };
    if listed == ["None"] {
        return Ok(Exposure::Headless);
    }
    let ips = listed.into_iter().map(|ip| field.address("spec.clusterIPs", ip));
    Ok(Exposure::ClusterIps(ips.collect::<Result<_, _>>()?))
}

fn read_port(field: &Field<'_>, port: &core::ServicePort) -> Result<ServicePort, Skipped> {
    let node_port = port.node_port.filter(|number| *number != 0);
    Ok(ServicePort {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: field.protocol("spec.ports.protocol", port.protocol.as_deref())?,
        port: field.port("spec.ports.port", port.port)?,
        node_port: node_port.map(|number| field.port("spec.ports.nodePort", number)).transpose()?,
    })
}

fn read_policy(text: Option<&str>) -> TrafficPolicy {
    if text == Some("Local") { TrafficPolicy::Local } else { TrafficPolicy::Cluster }
}

fn read_affinity(spec: &core::ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client_ip = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds =
        client_ip.and_then(|config| config.timeout_seconds).and_then(|seconds| u64::try_from(seconds).ok());
    Some(Duration::from_secs(seconds.unwrap_or(AFFINITY_DEFAULT_SECONDS)))
}

fn read_slice(name: &ServiceName, object: &discovery::EndpointSlice) -> Result<Slice, Skipped> {
    let field = Field { kind: "EndpointSlice", name };
    if object.address_type == "FQDN" {
        return Ok(Slice { ports: Vec::new(), endpoints: Vec::new() });
    }
    let mut ports = Vec::new();
    for port in object.ports.iter().flatten() {
        let Some(number) = port.port else { continue };
        ports.push(SlicePort {
            name: port.name.as_deref().unwrap_or_default().into(),
            protocol: field.protocol("ports.protocol", port.protocol.as_deref())?,
            port: field.port("ports.port", number)?,
        });
    }
    let mut endpoints = Vec::new();
    for endpoint in object.endpoints.iter().flatten() {
        for address in &endpoint.addresses {
            endpoints.push(read_endpoint(field.address("endpoints.addresses", address)?, endpoint));
        }
    }
    Ok(Slice { ports, endpoints })
}

fn read_endpoint(address: IpAddr, object: &discovery::Endpoint) -> Endpoint {
    let conditions = object.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Arc::from);
    let hints = object.hints.as_ref();
    let for_zones = hints.and_then(|hints| hints.for_zones.as_ref());
    let for_nodes = hints.and_then(|hints| hints.for_nodes.as_ref());
    let target = object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Endpoint {
        address,
        ready,
        serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(ready),
        terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
        hostname: text(&object.hostname),
        node: text(&object.node_name),
        zone: text(&object.zone),
        for_zones: for_zones.into_iter().flatten().map(|zone| zone.name.as_str().into()).collect(),
        for_nodes: for_nodes.into_iter().flatten().map(|node| node.name.as_str().into()).collect(),
        pod: target.and_then(|target| text(&target.name)),
    }
}

fn read_node(object: &core::Node) -> Node {
    let addresses = object.status.iter().flat_map(|status| status.addresses.iter().flatten());
    let internal = addresses.filter(|address| address.type_ == "InternalIP");
    let spec = object.spec.as_ref();
    Node {
        addresses: internal.filter_map(|address| address.address.parse().ok()).collect(),
        zone: object
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get(ZONE_LABEL))
            .map(|zone| zone.as_str().into()),
        pod_cidrs: spec
            .and_then(|spec| spec.pod_cidrs.as_ref())
            .into_iter()
            .flatten()
            .filter_map(|cidr| cidr.parse().ok())
            .collect(),
    }
}
