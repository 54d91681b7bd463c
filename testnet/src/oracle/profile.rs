//! The node that is asked, in the ways in which a proxy can be configured on it.
//!
//! Its name is `worker-1`; it has two addresses of each family, of which the Node object tells the first.

use std::net::IpAddr;

use dataplane::forwarding_table::{NodeFacts, Pods};
use ipnet::IpNet;
use serde_json::json;

use super::site::Site;

/// The node's name.
pub const NODE: &str = "worker-1";

/// The node's zone, where it has one.
pub const ZONE: &str = "zone-a";

/// Its addresses: the Node object's, then the others.
pub const ADDRESSES: [&str; 4] = ["172.18.0.2", "fd00:172:18::2", "172.18.0.12", "fd00:172:18::12"];

/// Its pods' networks.
const PODS: [&str; 2] = ["10.244.1.0/24", "fd00:10:244:1::/64"];

/// The subnets of service addresses.
pub const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];

/// A way to configure the node's proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Its name, and its recording's.
    pub name: &'static str,
    /// How many sets are generated for it.
    pub sets: u64,
    /// The node's zone.
    pub zone: Option<&'static str>,
    /// Pods are recognised by these networks.
    pub cluster_cidrs: &'static [&'static str],
    /// `--masquerade-all`.
    pub masquerade_all: bool,
    /// `--nodeport-addresses`: all of the node's, or its primary ones.
    pub all_node_ports: bool,
}

/// All that are recorded.
pub const PROFILES: [Profile; 4] = [
    Profile {
        name: "cluster-cidr",
        sets: 320,
        zone: Some(ZONE),
        cluster_cidrs: &["10.244.0.0/16", "fd00:10:244::/48"],
        masquerade_all: false,
        all_node_ports: false,
    },
    Profile {
        name: "masquerade-all",
        sets: 90,
        zone: None,
        cluster_cidrs: &["10.244.0.0/16", "fd00:10:244::/48"],
        masquerade_all: true,
        all_node_ports: false,
    },
    Profile {
        name: "unknown-pods",
        sets: 90,
        zone: Some(ZONE),
        cluster_cidrs: &[],
        masquerade_all: false,
        all_node_ports: true,
    },
    Profile {
        name: "one-family-of-pods",
        sets: 70,
        zone: Some(ZONE),
        cluster_cidrs: &["10.244.0.0/16"],
        masquerade_all: false,
        all_node_ports: true,
    },
];

/// True for an address of the node.
#[must_use]
pub fn is_own(address: IpAddr) -> bool {
    ADDRESSES.iter().any(|own| own.parse() == Ok(address))
}

impl Profile {
    /// Its sets' seeds. No two profiles share one.
    pub fn seeds(&self) -> impl Iterator<Item = u64> {
        let place = PROFILES.iter().position(|profile| profile.name == self.name).unwrap_or_default() as u64;
        (0..self.sets).map(move |index| place * 1000 + index)
    }

    /// The node as Sluice knows it.
    ///
    /// # Panics
    /// Never: the constants parse.
    #[must_use]
    pub fn node_facts(&self) -> NodeFacts {
        let parse =
            |texts: &[&str]| -> Vec<IpNet> { texts.iter().filter_map(|text| text.parse().ok()).collect() };
        let addresses: Vec<IpAddr> = ADDRESSES.iter().filter_map(|text| text.parse().ok()).collect();
        let pods = match parse(self.cluster_cidrs) {
            cidrs if cidrs.is_empty() => Pods::Unknown,
            cidrs => Pods::Cidrs(cidrs.into_iter().collect()),
        };
        let mut facts = NodeFacts::new(NODE, parse(&SERVICE_CIDRS))
            .in_zone(self.zone.map(Into::into))
            .with_addresses(&addresses[..2])
            .recognising(pods);
        if self.all_node_ports {
            facts.node_port_addresses = addresses.into_iter().collect();
        }
        facts.masquerade_all = self.masquerade_all;
        facts
    }

    /// The node.
    #[must_use]
    pub fn site(&self) -> Site {
        let labels = self.zone.map_or(json!({}), |zone| json!({"topology.kubernetes.io/zone": zone}));
        let internal = ADDRESSES[..2].iter().map(|ip| json!({"type": "InternalIP", "address": ip}));
        let node_ports = if self.all_node_ports { json!(["0.0.0.0/0", "::/0"]) } else { json!(["primary"]) };
        let wire = |address: &&str| format!("{address}/{}", if address.contains(':') { 64 } else { 24 });
        let networks = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        Site {
            node: json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels},
                "spec": {"podCIDR": PODS[0], "podCIDRs": PODS},
                "status": {"addresses": internal.collect::<Vec<_>>()},
            }),
            addresses: ADDRESSES.iter().filter_map(|address| wire(address).parse().ok()).collect(),
            pods: networks(&PODS),
            pods_device: "pods0".to_owned(),
            service_cidrs: networks(&SERVICE_CIDRS),
            proxy: json!({
                "clusterCIDR": self.cluster_cidrs.join(","),
                "nodePortAddresses": node_ports,
                "nftables": {"masqueradeAll": self.masquerade_all},
            }),
        }
    }
}
