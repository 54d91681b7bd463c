//! What the command asks of the node's side of a trace, and what that finds: JSON over a pipe between two processes,
//! because only a fresh process can enter a node's namespaces.

use std::net::IpAddr;
use std::path::PathBuf;

use dns::search_path::SearchPath;
use serde::{Deserialize, Serialize};

use super::target::Target;
use crate::wiring::agent::explanation::{Delivery, NodeSelf};

/// What is to be found out on a node.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The kubeconfig of the cluster on this machine.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The node that the connection enters.
    pub(crate) node: String,
    /// The sender's address.
    pub(crate) sender: Option<IpAddr>,
    /// The sender has a network namespace of its own.
    pub(crate) is_pod: bool,
    pub(crate) target: Target,
    pub(crate) resolver: Resolver,
    /// Send a real packet.
    pub(crate) live: bool,
}

/// How the sender resolves names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resolver {
    /// `ClusterFirst`, `Default` or `None`, as a pod's `dnsPolicy` in effect.
    pub(crate) policy: String,
    pub(crate) namespace: String,
    /// `dnsConfig`.
    pub(crate) servers: Vec<IpAddr>,
    pub(crate) searches: Vec<String>,
    pub(crate) options: Vec<String>,
    /// `/etc/hosts`: names with their addresses.
    pub(crate) hosts: Vec<(String, IpAddr)>,
}

/// What was found out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Findings {
    pub(crate) node: NodeSelf,
    /// The agent is not synced yet: what is missing.
    pub(crate) unsynced: Option<String>,
    pub(crate) names: Vec<NameStep>,
    /// The address that is connected to.
    pub(crate) address: Option<IpAddr>,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) kernel: Option<Kernel>,
    pub(crate) live: Option<Live>,
    /// What could not be found out, and why.
    pub(crate) warnings: Vec<String>,
}

/// One question for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NameStep {
    pub(crate) name: String,
    /// `10.96.132.79`, `NXDOMAIN`, `NODATA`, `SERVFAIL`, `no answer`.
    pub(crate) answer: String,
    pub(crate) addresses: Vec<IpAddr>,
    /// `10.96.0.10 (worker-1)`, `/etc/hosts`.
    pub(crate) answered_by: String,
    /// The server asked the upstream resolvers.
    pub(crate) forwarded: bool,
}

/// What the node's kernel holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kernel {
    /// Elements of our table's sets and maps with this address and port, as nft prints them.
    pub(crate) elements: Vec<Element>,
    /// The line of `sluice dump nft`.
    pub(crate) line: Option<String>,
    /// It holds what the agent's table says.
    pub(crate) agrees: bool,
}

/// An element of a set or map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Element {
    pub(crate) set: String,
    pub(crate) text: String,
}

/// What became of a real packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Live {
    pub(crate) source: String,
    pub(crate) destination: String,
    pub(crate) outcome: LiveOutcome,
    pub(crate) milliseconds: f64,
    /// The endpoint that it was translated to.
    pub(crate) endpoint: Option<String>,
    /// Its way through the node's chains.
    pub(crate) path: Vec<PathStep>,
    /// The entry of connection tracking.
    pub(crate) connection: Option<String>,
}

/// How it ended for the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LiveOutcome {
    /// TCP: the connection was accepted. UDP: a datagram came back.
    Answered,
    /// TCP reset, or ICMP port unreachable.
    Refused,
    /// ICMP host or net unreachable, or no route.
    Unreachable,
    /// Nothing came back in time.
    #[default]
    Silence,
}

/// One decision about the packet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PathStep {
    pub(crate) table: String,
    pub(crate) chain: String,
    /// The rule's comment; none at the chain's end.
    pub(crate) rule: Option<String>,
    pub(crate) verdict: String,
    /// `10.244.1.5:40000 -> 10.96.132.79:80`, where the kernel tells it.
    pub(crate) packet: Option<String>,
    pub(crate) arrived_by: Option<String>,
    pub(crate) leaves_by: Option<String>,
}

impl NameStep {
    /// The name as it was typed, without any domain, as a server outside was asked for it.
    pub(crate) fn is_bare(&self) -> bool {
        self.forwarded && !self.name.contains('.')
    }
}

impl Resolver {
    /// The sender's search path on a node that says this of itself. `host` is the text of the host's own file.
    pub(crate) fn search_path(&self, node: &NodeSelf, host: &str) -> SearchPath {
        let domain = node.domain.as_deref().unwrap_or("cluster.local");
        let mut path = match (self.policy.as_str(), node.dns_addresses.first()) {
            ("None", _) => SearchPath { servers: Vec::new(), domains: Vec::new(), ndots: 1 },
            ("Default", None) => SearchPath::parse(host),
            // On our own nodes the host's resolution is the same server, without the search list.
            ("Default", Some(server)) => SearchPath { servers: vec![*server], domains: Vec::new(), ndots: 1 },
            (_, Some(server)) => SearchPath::of_pod(*server, &self.namespace, domain),
            (_, None) => SearchPath {
                servers: Vec::new(),
                ..SearchPath::of_pod(IpAddr::from([0, 0, 0, 0]), &self.namespace, domain)
            },
        };
        path.servers.extend(&self.servers);
        path.domains.extend(self.searches.iter().cloned());
        self.options.iter().for_each(|option| path.set_option(option));
        path
    }
}
