//! Reads the API's objects into the model's types: what is needed, with what is missing defaulted as Kubernetes
//! documents it, and a reason for each object that cannot be understood.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::endpoint::{Packer, Placement};
use crate::intern::Interner;
use crate::{
    Detail, Endpoint, Endpoints, Exposure, Node, Outside, Protocol, Service, ServiceName, ServicePort, Slice,
    SlicePort, TrafficPolicy,
};

/// Label that hands a Service to another proxy.
const PROXY_NAME_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Label of slices that proxies leave alone. Controllers set it where the Service is headless; on a Service it means nothing.
const HEADLESS_LABEL: &str = "service.kubernetes.io/headless";
/// Label with a node's zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// Kubernetes' default of `sessionAffinityConfig.clientIP.timeoutSeconds`.
const AFFINITY_DEFAULT_SECONDS: u32 = 10_800;

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

/// Reads objects; what they have in common with others they share.
pub(crate) struct Reader<'a> {
    interner: &'a mut Interner,
    detail: Detail,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(interner: &'a mut Interner, detail: Detail) -> Self {
        Self { interner, detail }
    }

    pub(crate) fn service(&mut self, name: &ServiceName, object: &core::Service) -> Result<Service, Skipped> {
        let field = Field { kind: "Service", name };
        let spec = object.spec.as_ref().ok_or_else(|| field.skip("spec", "", "a Service's spec"))?;
        let labels = object.metadata.labels.as_ref();
        let ports = spec.ports.iter().flatten().map(|port| self.service_port(&field, port));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let outside = read_outside(&field, object, spec)?;
        Ok(Service {
            ports: self.interner.service_ports(ports),
            exposure: read_exposure(&field, spec)?,
            internal_policy: read_policy(spec.internal_traffic_policy.as_deref()),
            external_policy: read_policy(spec.external_traffic_policy.as_deref()),
            affinity_seconds: read_affinity(spec),
            outside: (outside != Outside::default()).then(|| Box::new(outside)),
            proxied: !labels.is_some_and(|labels| labels.contains_key(PROXY_NAME_LABEL)),
        })
    }

    fn service_port(&mut self, field: &Field<'_>, port: &core::ServicePort) -> Result<ServicePort, Skipped> {
        let node_port = port.node_port.filter(|number| *number != 0);
        Ok(ServicePort {
            name: self.interner.text(port.name.as_deref().unwrap_or_default()),
            protocol: field.protocol("spec.ports.protocol", port.protocol.as_deref())?,
            port: field.port("spec.ports.port", port.port)?,
            node_port: node_port.map(|number| field.port("spec.ports.nodePort", number)).transpose()?,
        })
    }

    pub(crate) fn slice(
        &mut self,
        name: &ServiceName,
        object: &discovery::EndpointSlice,
    ) -> Result<Slice, Skipped> {
        if object.address_type == "FQDN" {
            return Ok(Slice { name: name.clone(), ports: Arc::default(), endpoints: Endpoints::default() });
        }
        let field = Field { kind: "EndpointSlice", name };
        let ports =
            object.ports.iter().flatten().filter_map(|port| self.slice_port(&field, port).transpose());
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let ports = self.interner.slice_ports(ports);
        let labels = object.metadata.labels.as_ref();
        let proxied = !labels.is_some_and(|labels| labels.contains_key(HEADLESS_LABEL));
        let mut packer = Packer::default();
        for endpoint in object.endpoints.iter().flatten() {
            let placement = self.placement(endpoint);
            for (index, address) in endpoint.addresses.iter().enumerate() {
                let address = field.address("endpoints.addresses", address)?;
                let read = self.endpoint(address, proxied && index == 0, endpoint);
                packer.push(&read, Arc::clone(&placement));
            }
        }
        Ok(Slice { name: name.clone(), ports, endpoints: packer.finish() })
    }

    /// None for a port without a number.
    fn slice_port(
        &mut self,
        field: &Field<'_>,
        port: &discovery::EndpointPort,
    ) -> Result<Option<SlicePort>, Skipped> {
        let Some(number) = port.port else { return Ok(None) };
        Ok(Some(SlicePort {
            name: self.interner.text(port.name.as_deref().unwrap_or_default()),
            protocol: field.protocol("ports.protocol", port.protocol.as_deref())?,
            port: field.port("ports.port", number)?,
        }))
    }

    /// All of an endpoint but its placement.
    fn endpoint<'o>(&self, address: IpAddr, proxied: bool, object: &'o discovery::Endpoint) -> Endpoint<'o> {
        let conditions = object.conditions.as_ref();
        let target = object.target_ref.as_ref().filter(|target| target.kind.as_deref() == Some("Pod"));
        Endpoint {
            address,
            proxied,
            ready: conditions.and_then(|conditions| conditions.ready).unwrap_or(true),
            serving: conditions.and_then(|conditions| conditions.serving).unwrap_or(true),
            terminating: conditions.and_then(|conditions| conditions.terminating).unwrap_or(false),
            hostname: present(&object.hostname),
            pod: target.filter(|_| self.detail.pods).and_then(|target| present(&target.name)),
            node: None,
            zone: None,
            for_zones: &[],
            for_nodes: &[],
        }
    }

    fn placement(&mut self, object: &discovery::Endpoint) -> Arc<Placement> {
        let mut placement = Placement::default();
        if self.detail.placement {
            let hints = object.hints.as_ref();
            let for_zones = hints.and_then(|hints| hints.for_zones.as_ref()).into_iter().flatten();
            let for_nodes = hints.and_then(|hints| hints.for_nodes.as_ref()).into_iter().flatten();
            let mut text = |text: &str| self.interner.text(text);
            placement = Placement {
                node: present(&object.node_name).map(&mut text),
                zone: present(&object.zone).map(&mut text),
                for_zones: for_zones.map(|zone| text(&zone.name)).collect(),
                for_nodes: for_nodes.map(|node| text(&node.name)).collect(),
            };
        }
        self.interner.placement(placement)
    }
}

/// An empty text is none.
fn present(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
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

fn read_outside(
    field: &Field<'_>,
    object: &core::Service,
    spec: &core::ServiceSpec,
) -> Result<Outside, Skipped> {
    Ok(Outside {
        external_ips: read_external_ips(field, spec)?,
        load_balancer_ips: read_load_balancer(field, object)?,
        source_ranges: read_source_ranges(field, spec)?,
        health_check_node_port: read_health_check(field, spec)?,
    })
}

fn read_external_ips(field: &Field<'_>, spec: &core::ServiceSpec) -> Result<Box<[IpAddr]>, Skipped> {
    spec.external_ips.iter().flatten().map(|ip| field.address("spec.externalIPs", ip)).collect()
}

/// Addresses that the load balancer leaves in the packets. Without an `ipMode` they are virtual IPs.
fn read_load_balancer(field: &Field<'_>, object: &core::Service) -> Result<Box<[IpAddr]>, Skipped> {
    let status = object.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|balancer| balancer.ingress.as_ref());
    let virtual_ips = ingress.into_iter().flatten().filter(|point| point.ip_mode.as_deref() != Some("Proxy"));
    let ips = virtual_ips.filter_map(|point| point.ip.as_deref()).filter(|ip| !ip.is_empty());
    ips.map(|ip| field.address("status.loadBalancer.ingress.ip", ip)).collect()
}

/// Validation upstream lets blanks around a range pass, and so do proxies.
fn read_source_ranges(field: &Field<'_>, spec: &core::ServiceSpec) -> Result<Box<[IpNet]>, Skipped> {
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

fn read_affinity(spec: &core::ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client_ip = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds =
        client_ip.and_then(|config| config.timeout_seconds).and_then(|seconds| u32::try_from(seconds).ok());
    Some(seconds.unwrap_or(AFFINITY_DEFAULT_SECONDS))
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
