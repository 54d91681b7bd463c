//! What a zone is told: names, lifetimes, and which optional names exist.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::name::{Name, NameError};

/// How `a-b-c-d.<namespace>.pod.<zone>` is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// Never (CoreDNS's default).
    #[default]
    Disabled,
    /// Whatever address the name spells, if the namespace exists (kubeadm's setting).
    Insecure,
    /// Only addresses of pods in the zone's pod table.
    Verified,
}

/// Which family a reverse zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reversed {
    V4,
    V6,
}

/// One name that the server is authoritative for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suffix {
    pub(crate) name: Name,
    pub(crate) labels: usize,
    pub(crate) reversed: Option<Reversed>,
    /// Names that do not exist go on to the chain.
    pub(crate) fallthrough: bool,
}

impl Suffix {
    /// The suffix of `name`; one below `in-addr.arpa` or `ip6.arpa` is a reverse zone.
    ///
    /// # Errors
    /// [`NameError`] when `name` is not a domain name.
    pub fn new(name: &str, fallthrough: bool) -> Result<Self, NameError> {
        Ok(Self::of(name.parse()?, fallthrough))
    }

    /// The suffix of a name that was read already.
    #[must_use]
    pub fn of(name: Name, fallthrough: bool) -> Self {
        let below = |text: &str| text.parse().is_ok_and(|ancestor| name.is_within(&ancestor));
        let reversed = match () {
            () if below("in-addr.arpa") => Some(Reversed::V4),
            () if below("ip6.arpa") => Some(Reversed::V6),
            () => None,
        };
        Self { labels: name.label_count(), name, reversed, fallthrough }
    }

    /// True below `in-addr.arpa` and `ip6.arpa`.
    #[must_use]
    pub fn is_reverse(&self) -> bool {
        self.reversed.is_some()
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }
}

/// Configuration of a [`super::Zone`]; it does not change while the zone lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneConfig {
    /// The names served, in the order of their importance: the first that is no reverse zone is the one that PTR
    /// records point into. Empty: everything is forwarded.
    pub zones: Vec<Suffix>,
    /// Lifetime of records in seconds, 0 to 3600. CoreDNS's default is 5, kubeadm's 30.
    pub ttl: u32,
    /// Pod names.
    pub pods: Pods,
    /// Namespaces that are served; empty serves all.
    pub namespaces: BTreeSet<String>,
    /// A ClusterIP Service without ready endpoints does not exist.
    pub ignore_empty_service: bool,
    /// An endpoint without a hostname has its pod's name instead of its address.
    pub endpoint_pod_names: bool,
    /// Addresses that the server listens on: they tell which Service is the name server.
    pub local_addresses: Vec<IpAddr>,
    /// Most bytes of an answer over UDP, whatever the client can take.
    pub udp_bytes_max: Option<u16>,
}

impl ZoneConfig {
    /// A server that is authoritative for nothing and forwards every name.
    #[must_use]
    pub fn forward_only() -> Self {
        Self {
            zones: Vec::new(),
            ttl: 5,
            pods: Pods::Disabled,
            namespaces: BTreeSet::new(),
            ignore_empty_service: false,
            endpoint_pod_names: false,
            local_addresses: Vec::new(),
            udp_bytes_max: None,
        }
    }

    /// What kubeadm configures for a cluster of this domain: TTL 30, pods insecure, both reverse zones with
    /// fallthrough.
    ///
    /// # Errors
    /// [`NameError`] when `domain` is not a domain name.
    pub fn cluster(domain: &str) -> Result<Self, NameError> {
        let zones = vec![
            Suffix::new(domain, false)?,
            Suffix::new("in-addr.arpa", true)?,
            Suffix::new("ip6.arpa", true)?,
        ];
        Ok(Self { zones, ttl: 30, pods: Pods::Insecure, ..Self::forward_only() })
    }

    /// True when names of this namespace may be served.
    pub(crate) fn exposes(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.contains(namespace)
    }

    /// The zone that PTR and NS records of reverse zones point into.
    pub(crate) fn forward_zone(&self) -> Option<&Suffix> {
        self.zones.iter().find(|suffix| suffix.reversed.is_none())
    }
}
