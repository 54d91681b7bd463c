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

/// Its pods' networks, as the Node object tells them: those of the many pods that are asked with.
const PODS: [&str; 2] = ["10.244.128.0/17", "fd00:10:244:1::/64"];

/// What lies behind its interface for pods: a few endpoints too.
const BEHIND: [&str; 3] = ["10.244.1.0/24", PODS[0], PODS[1]];

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
    /// How pods are recognised.
    pub detect: Detect,
    /// `--masquerade-all`.
    pub masquerade_all: bool,
    /// `--nodeport-addresses`: all of the node's, or its primary ones.
    pub all_node_ports: bool,
}

/// `--detect-local-mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detect {
    /// By the networks of all pods; not at all, without any.
    Cluster(&'static [&'static str]),
    /// By the networks of the node's own.
    Node,
    /// By the bridge of this name.
    Bridge(&'static str),
    /// By interfaces whose names begin so.
    Prefix(&'static str),
}

impl Detect {
    /// True when an address alone tells.
    #[must_use]
    pub fn is_by_address(self) -> bool {
        matches!(self, Self::Cluster(_) | Self::Node)
    }
}

/// All that are recorded.
pub const PROFILES: [Profile; 7] = [
    Profile {
        name: "cluster-cidr",
        sets: 320,
        zone: Some(ZONE),
        detect: Detect::Cluster(&["10.244.0.0/16", "fd00:10:244::/48"]),
        masquerade_all: false,
        all_node_ports: false,
    },
    Profile {
        name: "masquerade-all",
        sets: 90,
        zone: None,
        detect: Detect::Cluster(&["10.244.0.0/16", "fd00:10:244::/48"]),
        masquerade_all: true,
        all_node_ports: false,
    },
    Profile {
        name: "unknown-pods",
        sets: 90,
        zone: Some(ZONE),
        detect: Detect::Cluster(&[]),
        masquerade_all: false,
        all_node_ports: true,
    },
    Profile {
        name: "one-family-of-pods",
        sets: 70,
        zone: Some(ZONE),
        detect: Detect::Cluster(&["10.244.0.0/16"]),
        masquerade_all: false,
        all_node_ports: true,
    },
    Profile {
        name: "node-cidr",
        sets: 50,
        zone: Some(ZONE),
        detect: Detect::Node,
        masquerade_all: false,
        all_node_ports: false,
    },
    Profile {
        name: "bridge",
        sets: 50,
        zone: None,
        detect: Detect::Bridge("cni0"),
        masquerade_all: false,
        all_node_ports: false,
    },
    Profile {
        name: "interface-prefix",
        sets: 50,
        zone: None,
        detect: Detect::Prefix("veth"),
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
        let pods = match self.detect {
            Detect::Cluster([]) => Pods::Unknown,
            Detect::Cluster(cidrs) => Pods::Cidrs(parse(cidrs).into_iter().collect()),
            Detect::Node => Pods::Cidrs(parse(&PODS).into_iter().collect()),
            Detect::Bridge(name) => Pods::Bridge(name.into()),
            Detect::Prefix(prefix) => Pods::InterfacePrefix(prefix.into()),
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
        let (device, mode, detect, cluster) = match self.detect {
            Detect::Cluster(cidrs) => ("pods0", "ClusterCIDR", json!({}), cidrs.join(",")),
            Detect::Node => ("pods0", "NodeCIDR", json!({}), String::new()),
            Detect::Bridge(name) => {
                (name, "BridgeInterface", json!({"bridgeInterface": name}), String::new())
            }
            // The device's name is the prefix and a number.
            Detect::Prefix(prefix) => {
                ("veth0", "InterfaceNamePrefix", json!({"interfaceNamePrefix": prefix}), String::new())
            }
        };
        let wire = |address: &&str| format!("{address}/{}", if address.contains(':') { 64 } else { 24 });
        let networks = |texts: &[&str]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        Site {
            node: json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE, "labels": labels},
                "spec": {"podCIDR": PODS[0], "podCIDRs": PODS},
                "status": {"addresses": internal.collect::<Vec<_>>()},
            }),
            addresses: ADDRESSES.iter().filter_map(|address| wire(address).parse().ok()).collect(),
            pods: networks(&BEHIND),
            pods_device: device.to_owned(),
            service_cidrs: networks(&SERVICE_CIDRS),
            proxy: json!({
                "clusterCIDR": cluster, "detectLocalMode": mode, "detectLocal": detect,
                "nodePortAddresses": node_ports,
                "nftables": {"masqueradeAll": self.masquerade_all},
            }),
        }
    }
}
