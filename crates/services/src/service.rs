//! A Service as the model keeps it: what the data plane and DNS need, nothing else.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::name::Protocol;

/// How a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// By virtual IPs, one for each IP family, in `spec.clusterIPs` order. NodePort and LoadBalancer Services are
    /// this too; their further addresses are in the fields of [`Service`].
    ClusterIps(Vec<IpAddr>),
    /// `clusterIP: None`: DNS only.
    Headless,
    /// A CNAME to this name (without trailing dot): DNS only.
    ExternalName(Arc<str>),
}

/// `internalTrafficPolicy` or `externalTrafficPolicy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TrafficPolicy {
    /// Any endpoint of the cluster.
    #[default]
    Cluster,
    /// Only endpoints of the node that the traffic enters.
    Local,
}

/// One port of a Service. Endpoints match it by `name`, never by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Name, `""` when it has none.
    pub name: Arc<str>,
    /// Protocol.
    pub protocol: Protocol,
    /// Port of the virtual IP.
    pub port: u16,
    /// Node port, if one is allocated.
    pub node_port: Option<u16>,
}

/// A Service, reduced to what decides forwarding and names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// How it is reached.
    pub exposure: Exposure,
    /// Its ports in `spec.ports` order.
    pub ports: Vec<ServicePort>,
    /// Policy for traffic from inside of the cluster.
    pub internal_policy: TrafficPolicy,
    /// Policy for traffic from outside.
    pub external_policy: TrafficPolicy,
    /// Session affinity by client address, with its timeout.
    pub affinity: Option<Duration>,
    /// `spec.externalIPs` of both families.
    pub external_ips: Vec<IpAddr>,
    /// Addresses of `status.loadBalancer.ingress` that are virtual IPs; those of `ipMode: Proxy` (KEP-1860) are left
    /// to the load balancer.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`: who may use the load balancer's addresses. An address family without a range,
    /// or with one of length 0, is open to all.
    pub source_ranges: Vec<IpNet>,
    /// `spec.healthCheckNodePort`, where the load balancer asks whether this node has endpoints (external policy Local).
    pub health_check_node_port: Option<u16>,
    /// False when the label `service.kubernetes.io/service-proxy-name` hands the Service to another proxy: its names are
    /// served, its addresses are not forwarded.
    pub proxied: bool,
}

impl Service {
    /// The virtual IPs, empty for headless and ExternalName Services.
    #[must_use]
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.exposure {
            Exposure::ClusterIps(ips) => ips,
            _ => &[],
        }
    }

    /// True when something but ClusterIPs leads to it: node ports, external IPs, load balancers.
    #[must_use]
    pub fn is_external(&self) -> bool {
        !self.external_ips.is_empty()
            || !self.load_balancer_ips.is_empty()
            || self.ports.iter().any(|port| port.node_port.is_some())
    }
}
