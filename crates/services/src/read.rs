//! Reads the API's objects into the model's types: what is needed, with what is missing defaulted as Kubernetes
//! documents it, and a reason for each object that cannot be understood.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::{
    Endpoint, Exposure, Node, Protocol, Service, ServiceName, ServicePort, Slice, SlicePort, TrafficPolicy,
};

/// Label that hands a Service to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Label of slices that proxies leave alone. Controllers set it where the Service is headless; on a Service it means nothing.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
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

pub(crate) fn object_name(kind: &'static str, metadata: &ObjectMeta) -> Result<ServiceName, Skipped> {
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

pub(crate) fn read_service(name: &ServiceName, object: &core::Service) -> Result<Service, Skipped> {
    let field = Field { kind: "Service", name };
    let spec = object.spec.as_ref().ok_or_else(|| field.skip("spec", "", "a Service's spec"))?;
    let labels = object.metadata.labels.as_ref();
    Ok(Service {
        exposure: read_exposure(&field, spec)?,
        ports: spec.ports.iter().flatten().map(|port| read_port(&field, port)).collect::<Result<_, _>>()?,
        internal_policy: read_policy(spec.internal_traffic_policy.as_deref()),
        external_policy: read_policy(spec.external_traffic_policy.as_deref()),
        affinity: read_affinity(spec),
        external_ips: read_external_ips(&field, spec)?,
        load_balancer_ips: read_load_balancer(&field, object)?,
        source_ranges: read_source_ranges(&field, spec)?,
        health_check_node_port: read_health_check(&field, spec)?,
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

fn read_external_ips(field: &Field<'_>, spec: &core::ServiceSpec) -> Result<Vec<IpAddr>, Skipped> {
    spec.external_ips.iter().flatten().map(|ip| field.address("spec.externalIPs", ip)).collect()
}

/// Addresses that the load balancer leaves in the packets. Without an `ipMode` they are virtual IPs.
fn read_load_balancer(field: &Field<'_>, object: &core::Service) -> Result<Vec<IpAddr>, Skipped> {
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref());
    let virtual_ips = ingress.into_iter().flatten().filter(|point| point.ip_mode.as_deref() != Some("Proxy"));
    let ips = virtual_ips.filter_map(|point| point.ip.as_deref()).filter(|ip| !ip.is_empty());
    ips.map(|ip| field.address("status.loadBalancer.ingress.ip", ip)).collect()
}

/// Validation upstream lets blanks around a range pass, and so do proxies.
fn read_source_ranges(field: &Field<'_>, spec: &core::ServiceSpec) -> Result<Vec<IpNet>, Skipped> {
    let read = |text: &String| {
        let range = text.trim().parse::<IpNet>().map(|range| range.trunc());
        range.map_err(|_| field.skip("spec.loadBalancerSourceRanges", text, "a CIDR"))
    };
    spec.load_balancer_source_ranges.iter().flatten().map(read).collect()
}

/// The port counts only where a load balancer needs it: external policy Local.
fn read_health_check(field: &Field<'_>, spec: &core::ServiceSpec) -> Result<Option<u16>, Skipped> {
    let needed = spec.type_.as_deref() == Some("LoadBalancer")
        && read_policy(spec.external_traffic_policy.as_deref()) == TrafficPolicy::Local;
    let number = spec.health_check_node_port.filter(|number| needed && *number != 0);
    number.map(|number| field.port("spec.healthCheckNodePort", number)).transpose()
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

pub(crate) fn read_slice(name: &ServiceName, object: &discovery::EndpointSlice) -> Result<Slice, Skipped> {
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
    let labels = object.metadata.labels.as_ref();
    let proxied = !labels.is_some_and(|labels| labels.contains_key(HEADLESS_LABEL));
    let mut endpoints = Vec::new();
    for endpoint in object.endpoints.iter().flatten() {
        for (index, address) in endpoint.addresses.iter().enumerate() {
            let address = field.address("endpoints.addresses", address)?;
            endpoints.push(read_endpoint(address, proxied && index == 0, endpoint));
        }
    }
    Ok(Slice { ports, endpoints })
}

fn read_endpoint(address: IpAddr, proxied: bool, object: &discovery::Endpoint) -> Endpoint {
    let conditions = object.conditions.as_ref();
    let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
    let text = |text: &Option<String>| text.as_deref().filter(|text| !text.is_empty()).map(Arc::from);
    let hints = object.hints.as_ref();
    let for_zones = hints.and_then(|hints| hints.for_zones.as_ref());
    let for_nodes = hints.and_then(|hints| hints.for_nodes.as_ref());
    let target = object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
    Endpoint {
        address,
        proxied,
        ready,
        serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(true),
        terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
        hostname: text(&object.hostname),
        node: text(&object.node_name),
        zone: text(&object.zone),
        for_zones: for_zones.into_iter().flatten().map(|zone| zone.name.as_str().into()).collect(),
        for_nodes: for_nodes.into_iter().flatten().map(|node| node.name.as_str().into()).collect(),
        pod: target.and_then(|target| text(&target.name)),
    }
}

pub(crate) fn read_node(object: &core::Node) -> Node {
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
