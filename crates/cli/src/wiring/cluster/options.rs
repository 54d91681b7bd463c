//! What a cluster is to be like: checked once, then handed to each part in the part's own terms.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use control_plane::{Identity, controllers};
use ipnet::Ipv4Net;
use pods::NodeConfig;

use super::wire;
use crate::wiring::up::ClusterFlags;

/// The API's port unless told otherwise, as kubeadm's.
const API_PORT: u16 = 6443;

/// A cluster's shape and places, valid as a whole.
pub(crate) struct Options {
    pub(crate) nodes: u8,
    pub(crate) runtime_root: PathBuf,
    pub(crate) kubeconfig: Option<PathBuf>,
    service_cidr: Ipv4Net,
    pod_cidr: Ipv4Net,
    dns_domain: String,
    api_port: Option<u16>,
    data_dir: Option<PathBuf>,
}

impl Options {
    /// Checks the flags against each other.
    pub(crate) fn new(
        flags: &ClusterFlags,
        data_dir: Option<PathBuf>,
        kubeconfig: Option<PathBuf>,
        runtime_root: PathBuf,
    ) -> anyhow::Result<Self> {
        let (service_cidr, pod_cidr) =
            (network("--service-cidr", flags.service_cidr)?, network("--pod-cidr", flags.pod_cidr)?);
        ensure!(
            (12..=28).contains(&service_cidr.prefix_len()),
            "--service-cidr {service_cidr}: the prefix must be between /12 and /28"
        );
        ensure!(
            (8..=16).contains(&pod_cidr.prefix_len()),
            "--pod-cidr {pod_cidr}: the prefix must be between /8 and /16, so that each node has a /24 of it"
        );
        apart("--service-cidr", service_cidr, "--pod-cidr", pod_cidr)?;
        apart("--service-cidr", service_cidr, "the nodes' subnet", wire::SUBNET)?;
        apart("--pod-cidr", pod_cidr, "the nodes' subnet", wire::SUBNET)?;
        check_domain(&flags.dns_domain)?;
        Ok(Self {
            nodes: flags.nodes,
            runtime_root,
            kubeconfig: kubeconfig.map(std::path::absolute).transpose()?,
            service_cidr,
            pod_cidr,
            dns_domain: flags.dns_domain.clone(),
            api_port: flags.api_port,
            data_dir: data_dir.map(std::path::absolute).transpose()?,
        })
    }

    /// The API's listener on the host's loopback. A port that was asked for must be free; the usual one may be taken.
    pub(super) fn listen(&self) -> anyhow::Result<TcpListener> {
        let bind = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
        let listener = match self.api_port {
            Some(port) => {
                bind(port).with_context(|| format!("--api-port {port}: listening on 127.0.0.1:{port}"))?
            }
            None => bind(API_PORT).or_else(|_| bind(0)).context("listening on 127.0.0.1")?,
        };
        Ok(listener)
    }

    /// kube-dns: the tenth address, as kubeadm has it.
    fn dns_address(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.network()) + 10)
    }

    pub(super) fn control_plane(&self, gateway: Ipv4Addr) -> control_plane::Config {
        control_plane::Config {
            data_dir: self.data_dir.clone(),
            service_cidr: self.service_cidr,
            dns_domain: self.dns_domain.clone(),
            server_names: Vec::new(),
            server_addresses: vec![gateway.into()],
        }
    }

    pub(super) fn bootstrap(&self) -> controllers::BootstrapConfig {
        controllers::BootstrapConfig {
            service_cidr: self.service_cidr,
            api_address: wire::GATEWAY,
            api_port: super::WIRE_API_PORT,
        }
    }

    /// The configuration of node `name`, whose address on the wire also numbers its pod subnet.
    pub(super) fn node(
        &self,
        name: String,
        address: Ipv4Addr,
        state_dir: PathBuf,
        ca_pem: String,
        user: Identity,
        server: Identity,
    ) -> anyhow::Result<NodeConfig> {
        let index = u32::from(address) - u32::from(wire::GATEWAY);
        let network = u32::from(self.pod_cidr.network()) + (index << 8);
        Ok(NodeConfig {
            pod_cidr: Ipv4Net::new(network.into(), 24).context("the node's pod subnet")?,
            cluster_pod_cidr: self.pod_cidr,
            service_cidr: self.service_cidr,
            dns_address: self.dns_address(),
            dns_domain: self.dns_domain.clone(),
            api_url: format!("https://{}:{}", wire::GATEWAY, super::WIRE_API_PORT),
            gateway: wire::GATEWAY,
            address: Ipv4Net::new(address, wire::SUBNET.prefix_len()).context("the node's address")?,
            name,
            state_dir,
            ca_pem,
            client_cert_pem: user.cert_pem,
            client_key_pem: user.key_pem,
            server_cert_pem: server.cert_pem,
            server_key_pem: server.key_pem,
        })
    }
}

/// Address ranges that no packet between hosts may carry (RFC 6890).
const NOT_FOR_HOSTS: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Refuses `10.96.1.2/16`, for a subnet is named by its first address, and ranges that are nobody's.
fn network(flag: &str, cidr: Ipv4Net) -> anyhow::Result<Ipv4Net> {
    ensure!(cidr.addr() == cidr.network(), "{flag} {cidr}: did you mean {}?", cidr.trunc());
    if let Some(range) = NOT_FOR_HOSTS.iter().find(|range| range.contains(&cidr) || cidr.contains(*range)) {
        bail!("{flag} {cidr}: {range} is no range for hosts; choose one in 10.0.0.0/8, for example");
    }
    Ok(cidr)
}

fn apart(one: &str, first: Ipv4Net, other: &str, second: Ipv4Net) -> anyhow::Result<()> {
    if first.contains(&second) || second.contains(&first) {
        bail!("{one} {first} overlaps {other} {second}; choose another");
    }
    Ok(())
}

/// RFC 1035 names, lower case, without a trailing dot.
fn check_domain(domain: &str) -> anyhow::Result<()> {
    let label = |label: &str| {
        let inner =
            label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (1..=63).contains(&label.len()) && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    ensure!(
        domain.len() <= 180 && domain.split('.').all(label),
        "--dns-domain {domain:?} is not a DNS name of lower-case letters, digits, '-' and '.', like cluster.local"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(service: &str, pods: &str, domain: &str) -> ClusterFlags {
        ClusterFlags {
            nodes: 2,
            service_cidr: service.parse().unwrap(),
            pod_cidr: pods.parse().unwrap(),
            dns_domain: domain.into(),
            api_port: None,
        }
    }

    #[test]
    fn bad_shapes_are_refused_by_name() {
        for (service, pods, domain, expected) in [
            ("10.96.0.1/16", "10.244.0.0/16", "cluster.local", "did you mean 10.96.0.0/16?"),
            ("10.96.0.0/30", "10.244.0.0/16", "cluster.local", "between /12 and /28"),
            ("10.96.0.0/16", "10.244.0.0/24", "cluster.local", "between /8 and /16"),
            ("10.96.0.0/16", "10.0.0.0/8", "cluster.local", "overlaps --pod-cidr"),
            ("172.16.0.0/12", "10.244.0.0/16", "cluster.local", "overlaps the nodes' subnet"),
            ("10.96.0.0/16", "127.0.0.0/16", "cluster.local", "127.0.0.0/8 is no range for hosts"),
            ("239.0.0.0/16", "10.244.0.0/16", "cluster.local", "224.0.0.0/3 is no range for hosts"),
            ("10.96.0.0/16", "10.244.0.0/16", "Cluster.local", "is not a DNS name"),
            ("10.96.0.0/16", "10.244.0.0/16", "a..b", "is not a DNS name"),
        ] {
            let error = Options::new(&flags(service, pods, domain), None, None, "/run".into()).err().unwrap();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn nodes_are_numbered_alike_on_the_wire_and_in_the_pods_subnet() {
        let options =
            Options::new(&flags("10.96.0.0/16", "10.244.0.0/16", "cluster.local"), None, None, "/run".into())
                .unwrap();
        let identity = || Identity { cert_pem: String::new(), key_pem: String::new() };
        let node = options.node(
            "worker-2".into(),
            "172.18.0.3".parse().unwrap(),
            "/run/x".into(),
            String::new(),
            identity(),
            identity(),
        );
        let node = node.unwrap();
        assert_eq!(node.pod_cidr.to_string(), "10.244.2.0/24");
        assert_eq!(node.dns_address.to_string(), "10.96.0.10");
    }
}
