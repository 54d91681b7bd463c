//! Corefiles that both serve, and the sets that are asked under each.

use std::net::SocketAddr;
use std::ops::Range;

/// A way to configure the server.
#[derive(Debug)]
pub struct Profile {
    /// Of the recording, too.
    pub name: &'static str,
    /// Options of the `kubernetes` plugin.
    kubernetes: &'static str,
    /// The zones of the `kubernetes` plugin.
    zones: &'static str,
    /// Lifetime of records.
    pub ttl: u32,
    /// Sets.
    pub seeds: Range<u64>,
}

/// All of them.
pub const PROFILES: [Profile; 4] = [
    // kubeadm's own.
    Profile {
        name: "kubeadm",
        kubernetes: "pods insecure\n fallthrough in-addr.arpa ip6.arpa\n ttl 30",
        zones: "cluster.local in-addr.arpa ip6.arpa",
        ttl: 30,
        seeds: 0..5,
    },
    Profile {
        name: "verified",
        kubernetes: "pods verified\n endpoint_pod_names\n ignore empty_service\n namespaces default apps",
        zones: "cluster.local in-addr.arpa ip6.arpa",
        ttl: 5,
        seeds: 100..104,
    },
    // Two zones and nothing configured, not even reverse zones.
    Profile {
        name: "bare",
        kubernetes: "ttl 0",
        zones: "cluster.local example.net",
        ttl: 0,
        seeds: 200..203,
    },
    Profile {
        name: "fallthrough",
        kubernetes: "pods insecure\n fallthrough\n ttl 3600",
        zones: "cluster.local 10.in-addr.arpa",
        ttl: 3600,
        seeds: 300..302,
    },
];

impl Profile {
    /// The Corefile. Sluice takes no notice of the API's address here.
    #[must_use]
    pub fn corefile(&self, port: u16, api: SocketAddr, upstream: SocketAddr) -> String {
        let Self { kubernetes, zones, .. } = self;
        format!(
            ".:{port} {{\n bind 127.0.0.1\n kubernetes {zones} {{\n endpoint http://{api}\n {kubernetes}\n }}\n \
             forward . {upstream}\n}}\n"
        )
    }
}
