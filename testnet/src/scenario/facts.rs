//! The cluster in which a scenario plays: `--- facts`. Everything has a default, the lab's two nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ipnet::IpNet;

use super::section::Section;
use super::text::{ParseError, Word, Words};

/// What is fixed for the length of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The nodes; dumps without a node's name are the first one's.
    pub nodes: Vec<NodeFacts>,
    /// All pods' addresses.
    pub cluster_cidrs: Vec<IpNet>,
    /// All Services' addresses. ServiceCIDR objects add to them.
    pub service_cidrs: Vec<IpNet>,
    /// How nodes know a pod's connection.
    pub detect_local: DetectLocal,
    /// Nodes masquerade every connection to a ClusterIP.
    pub masquerade_all: bool,
    /// Node ports answer on the nodes' addresses in these networks; without any, on the first of each family.
    pub node_port_addresses: Vec<IpNet>,
    /// DNS domain without dots at its ends.
    pub domain: String,
    /// Names of the namespaces.
    pub namespaces: Vec<String>,
    /// The address that DNS has in the cluster, and the nodes that answer it themselves.
    pub dns: Option<(Ipv4Addr, Vec<String>)>,
}

/// kube-proxy's `--detect-local-mode`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DetectLocal {
    /// They do not.
    #[default]
    Unknown,
    /// By the networks of all pods.
    ClusterCidr,
    /// By the network of the node's own.
    NodeCidr,
    /// By the bridge that the pods' interfaces are ports of.
    BridgeInterface(String),
    /// By the first letters of the pods' interfaces.
    InterfaceNamePrefix(String),
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its addresses on the wire, `InternalIP`: the first of each family is the one that it speaks with.
    pub addresses: Vec<IpAddr>,
    /// Its pods' addresses, by family.
    pub pod_cidrs: Vec<IpNet>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
}

impl NodeFacts {
    /// The address that it speaks with to `peer`.
    #[must_use]
    pub fn address_to(&self, peer: IpAddr) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|address| address.is_ipv4() == peer.is_ipv4())
    }

    /// True for an address of its pods.
    #[must_use]
    pub fn has_pod(&self, address: IpAddr) -> bool {
        self.pod_cidrs.iter().any(|network| network.contains(&address))
    }

    /// The first address of each family.
    pub fn primaries(&self) -> impl Iterator<Item = IpAddr> {
        let first = |ipv4: bool| self.addresses.iter().copied().find(|address| address.is_ipv4() == ipv4);
        [first(true), first(false)].into_iter().flatten()
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            nodes: vec![node("worker-1", 1), node("worker-2", 2)],
            cluster_cidrs: vec![net([10, 244, 0, 0], 16)],
            service_cidrs: vec![net([10, 96, 0, 0], 16)],
            detect_local: DetectLocal::Unknown,
            masquerade_all: false,
            node_port_addresses: Vec::new(),
            domain: "cluster.local".to_owned(),
            namespaces: vec!["default".to_owned(), "kube-system".to_owned()],
            dns: None,
        }
    }
}

fn node(name: &str, number: u8) -> NodeFacts {
    NodeFacts {
        name: name.to_owned(),
        addresses: vec![IpAddr::from([172, 18, 0, 1 + number])],
        pod_cidrs: vec![net([10, 244, number, 0], 24)],
        zone: None,
    }
}

fn net(address: [u8; 4], prefix: u8) -> IpNet {
    IpNet::new_assert(address.into(), prefix)
}

impl Facts {
    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeFacts> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The node whose pods have this address, or which has it itself.
    #[must_use]
    pub fn node_of(&self, address: IpAddr) -> Option<&NodeFacts> {
        self.nodes.iter().find(|node| node.addresses.contains(&address) || node.has_pod(address))
    }

    /// True when this is the DNS address, which `node` answers itself.
    #[must_use]
    pub fn answers(&self, node: &str, address: SocketAddr) -> bool {
        let dns = self.dns.as_ref().filter(|(vip, _)| *vip == address.ip() && address.port() == 53);
        dns.is_some_and(|(_, nodes)| nodes.iter().any(|name| name == node))
    }

    /// True when any node has an IPv6 address.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.nodes.iter().flat_map(|node| &node.addresses).any(IpAddr::is_ipv6)
    }
}

/// Facts that replace the defaults once all of them are known.
#[derive(Default)]
struct Said<'a> {
    nodes: Vec<NodeFacts>,
    namespaces: Vec<String>,
    dns: Option<(Ipv4Addr, Vec<Word<'a>>)>,
}

/// Reads the section. The first `node` or `namespace` line replaces the default ones.
pub(super) fn parse(section: &Section<'_>) -> Result<Facts, ParseError> {
    let mut header = section.words();
    header.take();
    header.finish()?;
    let (mut facts, mut said) = (Facts::default(), Said::default());
    for line in section.body.iter().filter(|line| !line.is_blank()) {
        let mut words = line.words();
        let fact = words.need("a fact")?;
        parse_fact(&fact, &mut words, &mut facts, &mut said)?;
        words.finish()?;
    }
    if !said.nodes.is_empty() {
        facts.nodes = said.nodes;
    }
    if !said.namespaces.is_empty() {
        facts.namespaces = said.namespaces;
    }
    if let Some((address, words)) = said.dns {
        let stranger = words.iter().find(|word| facts.node(word.text).is_none());
        if let Some(word) = stranger {
            return Err(word.expected("the name of a node"));
        }
        facts.dns = Some((address, words.iter().map(|word| word.text.to_owned()).collect()));
    }
    Ok(facts)
}

fn parse_fact<'a>(
    fact: &Word<'a>,
    words: &mut Words<'a>,
    facts: &mut Facts,
    said: &mut Said<'a>,
) -> Result<(), ParseError> {
    match fact.text {
        "node" => said.nodes.push(parse_node(words)?),
        "namespace" => said.namespaces.push(words.need("a namespace's name")?.text.to_owned()),
        "cluster-cidr" => facts.cluster_cidrs = parse_networks(words)?,
        "service-cidr" => facts.service_cidrs = parse_networks(words)?,
        "detect-local" => facts.detect_local = parse_detect_local(words)?,
        "masquerade-all" => facts.masquerade_all = true,
        "nodeport-addresses" => facts.node_port_addresses = parse_networks(words)?,
        "domain" => facts.domain = words.need("a DNS domain")?.text.to_owned(),
        "dns" => said.dns = Some(parse_dns(words)?),
        _ => {
            let kinds = "`node`, `namespace`, `cluster-cidr`, `service-cidr`, `detect-local`, `masquerade-all`, \
                         `nodeport-addresses`, `domain` or `dns`";
            return Err(fact.expected(kinds));
        }
    }
    Ok(())
}

/// One network or several: of both families, or several of one.
fn parse_networks(words: &mut Words<'_>) -> Result<Vec<IpNet>, ParseError> {
    let mut networks = vec![words.need("a network")?.parse("a network")?];
    while let Some(word) = words.take() {
        networks.push(word.parse("a network")?);
    }
    Ok(networks)
}

fn parse_node(words: &mut Words<'_>) -> Result<NodeFacts, ParseError> {
    let name = words.need("a node's name")?.text.to_owned();
    let addresses = words.need("the node's addresses")?.parse_list("the node's addresses")?;
    let what = "the node's pod networks";
    let pod_cidrs = words.need(what)?.parse_list(what)?;
    let zone = match words.take() {
        None => None,
        Some(word) => {
            Some(word.text.strip_prefix("zone=").ok_or_else(|| word.expected("`zone=NAME`"))?.to_owned())
        }
    };
    Ok(NodeFacts { name, addresses, pod_cidrs, zone })
}

fn parse_detect_local(words: &mut Words<'_>) -> Result<DetectLocal, ParseError> {
    let modes = "`ClusterCIDR`, `NodeCIDR`, `BridgeInterface` or `InterfaceNamePrefix`";
    let mode = words.need(modes)?;
    Ok(match mode.text {
        "ClusterCIDR" => DetectLocal::ClusterCidr,
        "NodeCIDR" => DetectLocal::NodeCidr,
        "BridgeInterface" => DetectLocal::BridgeInterface(words.need("the bridge's name")?.text.to_owned()),
        "InterfaceNamePrefix" => {
            DetectLocal::InterfaceNamePrefix(words.need("the names' first letters")?.text.to_owned())
        }
        _ => return Err(mode.expected(modes)),
    })
}

fn parse_dns<'a>(words: &mut Words<'a>) -> Result<(Ipv4Addr, Vec<Word<'a>>), ParseError> {
    let address = words.need("the DNS address")?.parse("the DNS address")?;
    let mut nodes = vec![words.need("the name of a node that answers it")?];
    nodes.extend(std::iter::from_fn(|| words.take()));
    Ok((address, nodes))
}
