//! What forwarding must know of its node, put together from the settings, the Node object and the node's interfaces.
//! Pure: whoever notices that one of them changed asks again.

use std::collections::BTreeSet;
use std::net::IpAddr;

use dataplane::forwarding_table::{NodeFacts, Pods};
use ipnet::IpNet;
use services::Node;

use super::proxy_config::{LocalPods, NodePortAddress, ProxyConfig};

/// What comes and goes around a node without being its Services or endpoints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Subnets of the cluster's ServiceCIDR objects.
    pub(crate) service_cidrs: Vec<IpNet>,
    /// Addresses of the node's interfaces.
    pub(crate) interfaces: BTreeSet<IpAddr>,
}

/// The facts of the node called `name`; `node` is what the API knows of it, if it does.
pub(crate) fn node_facts(
    name: &str,
    config: &ProxyConfig,
    node: Option<&Node>,
    around: &Surroundings,
) -> NodeFacts {
    let service_cidrs = config.service_cidrs.as_ref().unwrap_or(&around.service_cidrs);
    let mut facts = NodeFacts::new(name, service_cidrs.iter().copied());
    facts.zone = node.and_then(|node| node.zone.clone());
    let told = node.map(|node| node.addresses.as_slice()).unwrap_or_default();
    facts.addresses = told.iter().copied().chain(config.primary_address).collect();
    let primary = primary_addresses(config.primary_address, told);
    facts.node_port_addresses = node_port_addresses(config, &primary, around, service_cidrs);
    facts.pods = pods(&config.local_pods, node);
    facts.masquerade_all = config.masquerade_all;
    facts
}

/// The settings' address, then the first of each family that the Node object tells.
fn primary_addresses(set: Option<IpAddr>, told: &[IpAddr]) -> Vec<IpAddr> {
    let of_family =
        |ipv4: bool| set.into_iter().chain(told.iter().copied()).find(|address| address.is_ipv4() == ipv4);
    [true, false].into_iter().filter_map(of_family).collect()
}

/// Never a loopback address, as in kube-proxy's nftables mode, nor a service's own that is on an interface.
fn node_port_addresses(
    config: &ProxyConfig,
    primary: &[IpAddr],
    around: &Surroundings,
    service_cidrs: &[IpNet],
) -> BTreeSet<IpAddr> {
    let mut addresses: BTreeSet<IpAddr> = BTreeSet::new();
    for entry in &config.node_port_addresses {
        match entry {
            NodePortAddress::Primary => addresses.extend(primary),
            NodePortAddress::Localhost => {}
            NodePortAddress::All => addresses.extend(&around.interfaces),
            NodePortAddress::Within(cidr) => {
                addresses.extend(around.interfaces.iter().filter(|address| cidr.contains(*address)));
            }
        }
    }
    addresses
        .retain(|address| !address.is_loopback() && !service_cidrs.iter().any(|cidr| cidr.contains(address)));
    addresses
}

fn pods(local: &LocalPods, node: Option<&Node>) -> Pods {
    let within = |cidrs: &[IpNet]| match cidrs {
        [] => Pods::Unknown,
        cidrs => Pods::Cidrs(cidrs.iter().map(IpNet::trunc).collect()),
    };
    match local {
        LocalPods::ClusterCidrs(cidrs) => within(cidrs),
        LocalPods::NodeCidr => within(node.map(|node| node.pod_cidrs.as_slice()).unwrap_or_default()),
        LocalPods::Bridge(name) => Pods::Bridge(name.as_str().into()),
        LocalPods::InterfacePrefix(prefix) => Pods::InterfacePrefix(prefix.as_str().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> BTreeSet<IpAddr> {
        text.split_whitespace().map(|address| address.parse().unwrap()).collect()
    }

    fn node() -> Node {
        Node {
            addresses: ["192.168.0.2", "10.0.0.2", "fd00::2"].map(|text| text.parse().unwrap()).to_vec(),
            zone: Some("a".into()),
            pod_cidrs: vec!["10.244.1.0/24".parse().unwrap()],
        }
    }

    fn around() -> Surroundings {
        Surroundings {
            service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
            interfaces: addresses("127.0.0.1 ::1 192.168.0.2 10.0.0.2 10.96.0.10 fd00::2 fd00::3"),
        }
    }

    #[test]
    fn node_ports_are_served_where_the_settings_say() {
        use NodePortAddress::{All, Localhost, Primary, Within};
        let cidr = |text: &str| Within(text.parse().unwrap());
        let cases = [
            (vec![Primary], None, "192.168.0.2 fd00::2"),
            (vec![Primary], Some("10.0.0.2"), "10.0.0.2 fd00::2"),
            (vec![All], None, "192.168.0.2 10.0.0.2 fd00::2 fd00::3"),
            (vec![cidr("10.0.0.0/8")], None, "10.0.0.2"),
            (vec![cidr("127.0.0.0/8"), Localhost], None, ""),
            (vec![Primary, cidr("fd00::/64")], None, "192.168.0.2 fd00::2 fd00::3"),
        ];
        for (node_port_addresses, bound, expected) in cases {
            let primary_address = bound.map(|text: &str| text.parse().unwrap());
            let config = ProxyConfig { node_port_addresses, primary_address, ..ProxyConfig::default() };
            let facts = node_facts("n", &config, Some(&node()), &around());
            assert_eq!(facts.node_port_addresses, addresses(expected), "{:?}", config.node_port_addresses);
        }
        let unknown = node_facts("n", &ProxyConfig::default(), None, &around());
        assert_eq!(unknown.node_port_addresses, BTreeSet::new());
    }

    #[test]
    fn local_pods_are_told_as_the_settings_say() {
        let cidrs = |text: &str| Pods::Cidrs([text.parse().unwrap()].into());
        let cases = [
            (LocalPods::ClusterCidrs(Vec::new()), Pods::Unknown),
            (LocalPods::ClusterCidrs(vec!["10.244.0.0/16".parse().unwrap()]), cidrs("10.244.0.0/16")),
            (LocalPods::NodeCidr, cidrs("10.244.1.0/24")),
            (LocalPods::Bridge("br0".into()), Pods::Bridge("br0".into())),
            (LocalPods::InterfacePrefix("veth".into()), Pods::InterfacePrefix("veth".into())),
        ];
        for (local_pods, expected) in cases {
            let config = ProxyConfig { local_pods, ..ProxyConfig::default() };
            assert_eq!(node_facts("n", &config, Some(&node()), &around()).pods, expected);
        }
    }

    #[test]
    fn the_node_object_tells_zone_and_addresses() {
        let config = ProxyConfig { masquerade_all: true, ..ProxyConfig::default() };
        let facts = node_facts("n", &config, Some(&node()), &around());
        assert_eq!((facts.zone.as_deref(), facts.masquerade_all), (Some("a"), true));
        assert_eq!(facts.addresses, addresses("192.168.0.2 10.0.0.2 fd00::2"));
        assert_eq!(facts.service_cidrs, around().service_cidrs.into_iter().collect());
        let own = ProxyConfig { service_cidrs: Some(Vec::new()), ..ProxyConfig::default() };
        assert!(node_facts("n", &own, None, &around()).service_cidrs.is_empty());
    }
}
