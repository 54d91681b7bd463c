//! A Service as the model keeps it: what the data plane and DNS need, nothing else.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ipnet::IpNet;

use crate::name::Protocol;

/// How a Service is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// By virtual IPs, one for each IP family, in `spec.clusterIPs` order. NodePort and LoadBalancer Services are
    /// this too; their further addresses are in [`Service::outside`].
    ClusterIps(Box<[IpAddr]>),
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// Its ports in `spec.ports` order; Services with equal ports share them.
    pub ports: Arc<[ServicePort]>,
    /// Policy for traffic from inside of the cluster.
    pub internal_policy: TrafficPolicy,
    /// Policy for traffic from outside.
    pub external_policy: TrafficPolicy,
    /// Session affinity by client address, with its timeout in seconds.
    pub affinity_seconds: Option<u32>,
    /// False when the label `service.kubernetes.io/service-proxy-name` hands the Service to another proxy: its names are
    /// served, its addresses are not forwarded.
    pub proxied: bool,
    /// What leads to it from outside of the cluster, which most have not.
    pub(crate) outside: Option<Box<Outside>>,
}

/// What leads to a Service from outside of the cluster, besides node ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// `spec.externalIPs` of both families.
    pub external_ips: Box<[IpAddr]>,
    /// Addresses of `status.loadBalancer.ingress` that are virtual IPs; those of `ipMode: Proxy` (KEP-1860) are left
    /// to the load balancer.
    pub load_balancer_ips: Box<[IpAddr]>,
    /// `spec.loadBalancerSourceRanges`: who may use the load balancer's addresses. An address family without a range,
    /// or with one of length 0, is open to all.
    pub source_ranges: Box<[IpNet]>,
    /// `spec.healthCheckNodePort`, where the load balancer asks whether this node has endpoints (external policy Local).
    pub health_check_node_port: Option<u16>,
}

static NOTHING_OUTSIDE: LazyLock<Outside> = LazyLock::new(Outside::default);

impl Service {
    /// The virtual IPs, empty for headless and ExternalName Services.
    #[must_use]
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.exposure {
            Exposure::ClusterIps(ips) => ips,
            _ => &[],
        }
    }

    /// Timeout of its session affinity by client address, if it has any.
    #[must_use]
    pub fn affinity(&self) -> Option<Duration> {
        self.affinity_seconds.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// What leads to it from outside of the cluster, besides node ports.
    #[must_use]
    pub fn outside(&self) -> &Outside {
        self.outside.as_deref().unwrap_or(&NOTHING_OUTSIDE)
    }

    /// True when something but ClusterIPs leads to it: node ports, external IPs, load balancers.
    #[must_use]
    pub fn is_external(&self) -> bool {
        let outside = self.outside();
        !outside.external_ips.is_empty()
            || !outside.load_balancer_ips.is_empty()
            || self.ports.iter().any(|port| port.node_port.is_some())
    }
}
