//! A cluster of namespaces for tests: the wire, nodes on it, pods on the nodes, made by the product's own primitives.
//!
//! ```no_run
//! use testnet::cluster::{Cluster, probe};
//! use testnet::scenario::Facts;
//!
//! # fn main() -> Result<(), testnet::cluster::Error> {
//! let cluster = Cluster::start(&Facts::default())?;
//! let server = cluster.pod("10.244.2.15".parse().unwrap())?;
//! server.listen(services::Protocol::Tcp, 9898)?;
//! let client = cluster.pod("10.244.1.5".parse().unwrap())?;
//! let heard = client.run(|| probe::tcp("10.244.2.15:9898".parse().unwrap(), probe::PATIENCE))?;
//! # Ok(())
//! # }
//! ```
//!
//! A namespace lives as long as a handle or a socket in it, so dropping the [`Cluster`] removes all of it, also when
//! a test fails; nothing has a name outside. An ordinary user calls [`pods::userns::enter`] first, before it has
//! threads. A socket belongs to the namespace in which it was made: one thread serves all the cluster's listeners.

mod echo;
mod namespace;
mod node;
mod outside;
pub mod probe;
mod sctp;
mod sniffer;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use pods::namespace as namespaces;
use pods::network::wire;
use services::Protocol;

use crate::scenario::Facts;

pub use echo::Heard;
pub use namespace::Namespace;
pub use node::{Node, Pod};

/// The gateway of all nodes, with the wire's subnet.
const GATEWAY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 18, 0, 1), 24);

/// The same of IPv6, where the facts have any.
const GATEWAY_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x18, 0, 0, 0, 0, 0, 1), 64);

/// The gateway in the family of `address`.
fn gateway_of(address: IpAddr) -> IpNet {
    if address.is_ipv4() { GATEWAY.into() } else { GATEWAY_V6.into() }
}

/// A step of building the test bed that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A namespace could not be made or entered.
    #[error("cannot use the namespace of {owner}")]
    Namespace {
        /// Whose.
        owner: String,
        /// Why.
        #[source]
        source: namespaces::Error,
    },
    /// Interfaces, addresses or routes.
    #[error("cannot set up the network of {owner}")]
    Network {
        /// Whose.
        owner: String,
        /// Why.
        #[source]
        source: pods::network::Error,
    },
    /// A socket in a namespace.
    #[error("cannot open {what}")]
    Socket {
        /// Which, and where.
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A new interface that stays dead.
    #[error("{owner} does not hear {peer} within {PATIENCE:?}", PATIENCE = probe::PATIENCE)]
    Link {
        /// Whose interface.
        owner: String,
        /// The node that it should hear.
        peer: IpAddr,
    },
    /// An address of no node.
    #[error("{0} is in no node's pod network")]
    Nowhere(IpAddr),
    /// A node that the facts do not have.
    #[error("there is no node {0}")]
    NoNode(String),
}

/// Nodes on a wire.
#[derive(Debug)]
pub struct Cluster {
    wire: Namespace,
    nodes: Vec<Node>,
    outside: outside::Outside,
    sniffer: sniffer::Sniffer,
    echo: Arc<echo::Echo>,
}

impl Cluster {
    /// Makes the wire and the nodes of these facts. Takes some ten milliseconds.
    ///
    /// # Errors
    /// The step that the kernel refused.
    pub fn start(facts: &Facts) -> Result<Self, Error> {
        let wire = Namespace::create("the wire")?;
        let both = facts.has_ipv6();
        wire.set_up(move || {
            wire::create(GATEWAY)?;
            if both { wire::add_gateway(GATEWAY_V6) } else { Ok(()) }
        })?;
        let sniffer = sniffer::Sniffer::open(&wire, &facts.service_cidrs)?;
        let echo = Arc::new(echo::Echo::start().map_err(|source| {
            let what = "the echo servers' wake-up socket".to_owned();
            Error::Socket { what, source }
        })?);
        let mut nodes = Vec::new();
        for (index, own) in facts.nodes.iter().enumerate() {
            nodes.push(Node::start(&wire, index, own, facts, &echo)?);
        }
        let cluster = Self { wire, nodes, outside: outside::Outside::default(), sniffer, echo };
        cluster.nodes.iter().try_for_each(|node| cluster.await_links(node))?;
        Ok(cluster)
    }

    /// Waits until the node hears from every other.
    fn await_links(&self, node: &Node) -> Result<(), Error> {
        let others = self.nodes.iter().filter(|other| other.facts().name != node.facts().name);
        others
            .flat_map(|other| other.facts().primaries())
            .filter(|address| node.facts().address_to(*address).is_some())
            .try_for_each(|address| node::await_link(node.namespace(), address))
    }

    /// The namespace that joins the nodes.
    #[must_use]
    pub fn wire(&self) -> &Namespace {
        &self.wire
    }

    /// The nodes in the facts' order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.facts().name == name)
    }

    /// The pod with this address, which is made now if it is new.
    ///
    /// # Errors
    /// No node has such pods, or the kernel refused a step.
    pub fn pod(&self, address: IpAddr) -> Result<Pod, Error> {
        let node = self.nodes.iter().find(|node| node.facts().has_pod(address));
        node.ok_or(Error::Nowhere(address))?.pod(address)
    }

    /// A client beyond the wire, made now if it is new: all that it sends enters the cluster by the node `entry`, as a
    /// load balancer or a router would have it.
    ///
    /// # Errors
    /// There is no such node, or the kernel refused a step.
    pub fn outside(&self, address: IpAddr, entry: &str) -> Result<Pod, Error> {
        let node = self.node(entry).ok_or_else(|| Error::NoNode(entry.to_owned()))?;
        self.outside.client(self, address, node)
    }

    /// Listens on an address, in the pod or node that has it or else beyond the wire, and answers each client with both
    /// addresses as the server sees them. Twice the same is one listener.
    ///
    /// # Errors
    /// The address is in use, or the kernel refused a step.
    pub fn listen(&self, protocol: Protocol, address: SocketAddr) -> Result<(), Error> {
        if let Some(node) = self.nodes.iter().find(|node| node.facts().addresses.contains(&address.ip())) {
            return node.listen(protocol, address);
        }
        let pod = match self.pod(address.ip()) {
            Err(Error::Nowhere(beyond)) => self.outside.server(self, beyond)?,
            found => found?,
        };
        pod.listen(protocol, address.port())
    }

    /// Packets to or from a service address that were seen on the wire since the last call, where none may ever be:
    /// `tcp 10.244.1.5 -> 10.96.132.79`. Those of a client beyond the wire have to be there.
    pub fn take_leaks(&self) -> Vec<String> {
        let leaks = self.sniffer.drain().into_iter();
        let outside = |address: &IpAddr| self.outside.has(*address);
        let leaks = leaks.filter(|leak| !outside(&leak.source) && !outside(&leak.destination));
        leaks.map(|leak| leak.to_string()).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.echo.stop();
    }
}
