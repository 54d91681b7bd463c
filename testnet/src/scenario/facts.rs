//! The cluster in which a scenario plays: `--- facts`. Everything has a default, the lab's two nodes.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use super::section::Section;
use super::text::{ParseError, Word, Words};

/// What is fixed for the length of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The nodes; dumps without a node's name are the first one's.
    pub nodes: Vec<NodeFacts>,
    /// All pods' addresses.
    pub cluster_cidr: Ipv4Net,
    /// All Services' addresses.
    pub service_cidr: Ipv4Net,
    /// DNS domain without dots at its ends.
    pub domain: String,
    /// Names of the namespaces.
    pub namespaces: Vec<String>,
    /// The address that DNS has in the cluster, and the nodes that answer it themselves.
    pub dns: Option<(Ipv4Addr, Vec<String>)>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// Its name.
    pub name: String,
    /// Its address on the wire, `InternalIP`.
    pub address: Ipv4Addr,
    /// Its pods' addresses.
    pub pod_cidr: Ipv4Net,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<String>,
}

impl Default for Facts {
    fn default() -> Self {
        Self {
            nodes: vec![node("worker-1", 1), node("worker-2", 2)],
            cluster_cidr: net([10, 244, 0, 0], 16),
            service_cidr: net([10, 96, 0, 0], 16),
            domain: "cluster.local".to_owned(),
            namespaces: vec!["default".to_owned(), "kube-system".to_owned()],
            dns: None,
        }
    }
}

fn node(name: &str, number: u8) -> NodeFacts {
    NodeFacts {
        name: name.to_owned(),
        address: Ipv4Addr::new(172, 18, 0, 1 + number),
        pod_cidr: net([10, 244, number, 0], 24),
        zone: None,
    }
}

fn net(address: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(address.into(), prefix)
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
        let IpAddr::V4(address) = address else { return None };
        self.nodes.iter().find(|node| node.address == address || node.pod_cidr.contains(&address))
    }

    /// True when this is the DNS address, which `node` answers itself.
    #[must_use]
    pub fn answers(&self, node: &str, address: SocketAddrV4) -> bool {
        let dns = self.dns.as_ref().filter(|(vip, _)| *vip == *address.ip() && address.port() == 53);
        dns.is_some_and(|(_, nodes)| nodes.iter().any(|name| name == node))
    }
}

/// Reads the section. The first `node` or `namespace` line replaces the default ones.
pub(super) fn parse(section: &Section<'_>) -> Result<Facts, ParseError> {
    let mut header = section.words();
    header.take();
    header.finish()?;
    let mut facts = Facts::default();
    let (mut nodes, mut namespaces, mut dns) = (Vec::new(), Vec::new(), None);
    for line in section.body.iter().filter(|line| !line.is_blank()) {
        let mut words = line.words();
        let fact = words.need("a fact")?;
        match fact.text {
            "node" => nodes.push(parse_node(&mut words)?),
            "namespace" => namespaces.push(words.need("a namespace's name")?.text.to_owned()),
            "cluster-cidr" => facts.cluster_cidr = words.need("an IPv4 network")?.parse("an IPv4 network")?,
            "service-cidr" => facts.service_cidr = words.need("an IPv4 network")?.parse("an IPv4 network")?,
            "domain" => facts.domain = words.need("a DNS domain")?.text.to_owned(),
            "dns" => dns = Some(parse_dns(&mut words)?),
            _ => {
                let kinds = "`node`, `namespace`, `cluster-cidr`, `service-cidr`, `domain` or `dns`";
                return Err(fact.expected(kinds));
            }
        }
        words.finish()?;
    }
    if !nodes.is_empty() {
        facts.nodes = nodes;
    }
    if !namespaces.is_empty() {
        facts.namespaces = namespaces;
    }
    if let Some((address, words)) = dns {
        let stranger = words.iter().find(|word| facts.node(word.text).is_none());
        if let Some(word) = stranger {
            return Err(word.expected("the name of a node"));
        }
        facts.dns = Some((address, words.iter().map(|word| word.text.to_owned()).collect()));
    }
    Ok(facts)
}

fn parse_node(words: &mut Words<'_>) -> Result<NodeFacts, ParseError> {
    let name = words.need("a node's name")?.text.to_owned();
    let address = words.need("the node's IPv4 address")?.parse("the node's IPv4 address")?;
    let what = "the node's pod network";
    let pod_cidr = words.need(what)?.parse(what)?;
    let zone = match words.take() {
        None => None,
        Some(word) => {
            Some(word.text.strip_prefix("zone=").ok_or_else(|| word.expected("`zone=NAME`"))?.to_owned())
        }
    };
    Ok(NodeFacts { name, address, pod_cidr, zone })
}

fn parse_dns<'a>(words: &mut Words<'a>) -> Result<(Ipv4Addr, Vec<Word<'a>>), ParseError> {
    let address = words.need("the DNS address")?.parse("the DNS address")?;
    let mut nodes = vec![words.need("the name of a node that answers it")?];
    nodes.extend(std::iter::from_fn(|| words.take()));
    Ok((address, nodes))
}
