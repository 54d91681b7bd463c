//! The addresses at which this node must serve a Service, family by family: the two families are independent.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use services::{Service, ServicePort};

use super::{Kind, NodeFacts};

/// One family's addresses.
pub(super) struct Demand {
    pub(super) ipv4: bool,
    pub(super) vips: Vec<Vip>,
}

/// One address, for all of the Service's ports.
pub(super) struct Vip {
    pub(super) kind: Kind,
    pub(super) address: IpAddr,
    /// Who may connect; empty: all.
    pub(super) sources: Arc<[IpNet]>,
}

impl Vip {
    /// The port number at this address; none for a node port that was not allocated.
    pub(super) fn port(&self, port: &ServicePort) -> Option<u16> {
        if self.kind == Kind::NodePort { port.node_port } else { Some(port.port) }
    }
}

/// The families in which a Service has a ClusterIP. Without one it has no frontends at all, whatever else it lists
/// (kube-proxy ignores a Service without a ClusterIP of the family).
pub(super) fn demands(facts: &NodeFacts, service: &Service) -> Vec<Demand> {
    let has = |ipv4: bool| service.cluster_ips().iter().any(|ip| ip.is_ipv4() == ipv4);
    let families = [true, false].into_iter().filter(|ipv4| has(*ipv4));
    families.map(|ipv4| Demand { ipv4, vips: vips(facts, service, ipv4) }).collect()
}

fn vips(facts: &NodeFacts, service: &Service, ipv4: bool) -> Vec<Vip> {
    let open: Arc<[IpNet]> = Arc::default();
    let outside = service.outside();
    let restricted = sources(facts, service, ipv4);
    let node_ports = service.ports.iter().any(|port| port.node_port.is_some());
    let node_addresses = facts.node_port_addresses.iter().filter(|_| node_ports);
    let listed = service.cluster_ips().iter().map(|ip| (Kind::ClusterIp, ip, &open));
    listed
        .chain(outside.external_ips.iter().map(|ip| (Kind::ExternalIp, ip, &open)))
        .chain(outside.load_balancer_ips.iter().map(|ip| (Kind::LoadBalancer, ip, &restricted)))
        // Node ports are not subject to source ranges, in any proxy.
        .chain(node_addresses.map(|ip| (Kind::NodePort, ip, &open)))
        .filter(|(_, address, _)| address.is_ipv4() == ipv4)
        .map(|(kind, address, sources)| Vip { kind, address: *address, sources: Arc::clone(sources) })
        .collect()
}

/// Who may use the load balancer's addresses. Where this node may, so may the addresses themselves: a request from the
/// node to such an address that is also local has it as its source (kube-proxy's `allowFromNode`).
fn sources(facts: &NodeFacts, service: &Service, ipv4: bool) -> Arc<[IpNet]> {
    let ranges = service.outside().source_ranges.iter().filter(|range| range.addr().is_ipv4() == ipv4);
    let mut ranges: Vec<IpNet> = ranges.copied().collect();
    if ranges.iter().any(|range| range.prefix_len() == 0) {
        return Arc::default();
    }
    if facts.addresses.iter().any(|address| ranges.iter().any(|range| range.contains(address))) {
        let own = service.outside().load_balancer_ips.iter().filter(|ip| ip.is_ipv4() == ipv4);
        ranges.extend(own.map(|ip| IpNet::from(*ip)));
    }
    if ranges.is_empty() {
        return Arc::default();
    }
    let mut merged = IpNet::aggregate(&ranges);
    merged.sort_unstable();
    merged.into()
}
