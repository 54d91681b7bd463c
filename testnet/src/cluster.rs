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
pub mod probe;
mod sniffer;

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use pods::namespace::{self, on_own_thread};
use pods::network::pod::PodNetwork;
use pods::network::{node, wire};
use services::Protocol;

use crate::scenario::{Facts, NodeFacts};

pub use echo::Heard;

/// The gateway of all nodes, with the wire's subnet.
const GATEWAY: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 18, 0, 1), 24);

/// Where every node answers, so that others see when their link to it carries packets.
const LINK_PORT: u16 = 9;

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
        source: namespace::Error,
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
        peer: Ipv4Addr,
    },
    /// An address of no node.
    #[error("{0} is in no node's pod network")]
    Nowhere(Ipv4Addr),
}

/// A namespace that work can be done in.
#[derive(Clone, Debug)]
pub struct Namespace {
    owner: String,
    handle: Arc<OwnedFd>,
}

/// Nodes on a wire.
#[derive(Debug)]
pub struct Cluster {
    wire: Namespace,
    nodes: Vec<Node>,
    sniffer: sniffer::Sniffer,
    echo: Arc<echo::Echo>,
}

/// A node: a network namespace with an address on the wire.
#[derive(Debug)]
pub struct Node {
    facts: NodeFacts,
    namespace: Namespace,
    pods: Mutex<BTreeMap<Ipv4Addr, Pod>>,
    echo: Arc<echo::Echo>,
}

/// A pod: a network namespace with an address, joined to its node. Clones are handles on the same pod.
#[derive(Clone, Debug)]
pub struct Pod {
    network: Arc<PodNetwork>,
    namespace: Namespace,
    echo: Arc<echo::Echo>,
}

impl Namespace {
    /// Runs `work` on a thread of its own that stands in this namespace, and waits for it.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let handle = Arc::clone(&self.handle);
        let inside = move || namespace::enter_network(handle.as_fd()).map(|()| work());
        on_own_thread(inside).and_then(|result| result).map_err(|source| self.failed(source))
    }

    /// The handle that keeps it alive.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// A fresh namespace, with nothing in it but a loopback interface that is down. `owner` is for messages.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn create(owner: &str) -> Result<Self, Error> {
        let made = on_own_thread(namespace::enter_new_network).and_then(|result| result);
        let handle = made.map_err(|source| Error::Namespace { owner: owner.to_owned(), source })?;
        Ok(Self { owner: owner.to_owned(), handle: Arc::new(handle) })
    }

    fn failed(&self, source: namespace::Error) -> Error {
        Error::Namespace { owner: self.owner.clone(), source }
    }

    /// Runs a step of the network's set-up.
    fn set_up<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, pods::network::Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run(work)?.map_err(|source| Error::Network { owner: self.owner.clone(), source })
    }
}

impl Cluster {
    /// Makes the wire and the nodes of these facts. Takes some ten milliseconds.
    ///
    /// # Errors
    /// The step that the kernel refused.
    pub fn start(facts: &Facts) -> Result<Self, Error> {
        let wire = Namespace::create("the wire")?;
        wire.set_up(|| wire::create(GATEWAY))?;
        let sniffer = sniffer::Sniffer::open(&wire, facts.service_cidr)?;
        let echo = Arc::new(echo::Echo::start().map_err(|source| {
            let what = "the echo servers' wake-up socket".to_owned();
            Error::Socket { what, source }
        })?);
        let mut nodes = Vec::new();
        for (index, own) in facts.nodes.iter().enumerate() {
            nodes.push(Node::start(&wire, index, own, facts, &echo)?);
        }
        let cluster = Self { wire, nodes, sniffer, echo };
        cluster.nodes.iter().try_for_each(|node| cluster.await_links(node))?;
        Ok(cluster)
    }

    /// Waits until the node hears from every other.
    fn await_links(&self, node: &Node) -> Result<(), Error> {
        let others = self.nodes.iter().filter(|other| other.facts.address != node.facts.address);
        others.map(|other| other.facts.address).try_for_each(|address| await_link(&node.namespace, address))
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
        self.nodes.iter().find(|node| node.facts.name == name)
    }

    /// The pod with this address, which is made now if it is new.
    ///
    /// # Errors
    /// No node has such pods, or the kernel refused a step.
    pub fn pod(&self, address: Ipv4Addr) -> Result<Pod, Error> {
        let node = self.nodes.iter().find(|node| node.facts.pod_cidr.contains(&address));
        node.ok_or(Error::Nowhere(address))?.pod(address)
    }

    /// Listens on an address of the cluster, in the pod or node that has it, and answers each client with both
    /// addresses as the server sees them. Twice the same is one listener.
    ///
    /// # Errors
    /// Nobody has the address, or it is in use.
    pub fn listen(&self, protocol: Protocol, address: SocketAddrV4) -> Result<(), Error> {
        match self.nodes.iter().find(|node| node.facts.address == *address.ip()) {
            Some(node) => node.listen(protocol, address),
            None => self.pod(*address.ip())?.listen(protocol, address.port()),
        }
    }

    /// Packets to or from a service address that were seen on the wire since the last call, where none may ever be:
    /// `tcp 10.244.1.5 -> 10.96.132.79`.
    pub fn take_leaks(&self) -> Vec<String> {
        self.sniffer.drain()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.echo.stop();
    }
}

impl Node {
    fn start(
        wire: &Namespace,
        index: usize,
        own: &NodeFacts,
        facts: &Facts,
        echo: &Arc<echo::Echo>,
    ) -> Result<Self, Error> {
        let namespace = Namespace::create(&own.name)?;
        let far = Arc::clone(&namespace.handle);
        let port = wire::Port { name: format!("node-{index}"), node: own.address, pods: own.pod_cidr };
        wire.set_up(move || wire::attach(&port, far.as_fd()))?;
        let address = Ipv4Net::new_assert(own.address, GATEWAY.prefix_len());
        let others = facts.nodes.iter().filter(|node| node.name != own.name);
        let routes: Vec<(Ipv4Net, Ipv4Addr)> = others.map(|node| (node.pod_cidr, node.address)).collect();
        let dns =
            facts.dns.as_ref().filter(|(_, nodes)| nodes.contains(&own.name)).map(|(address, _)| *address);
        namespace.set_up(move || {
            node::configure(address, GATEWAY.addr())?;
            dns.map_or(Ok(()), node::add_dns_address)?;
            routes.into_iter().try_for_each(|(pods, node)| node::set_pod_route(pods, node))
        })?;
        let node = Self { facts: own.clone(), namespace, pods: Mutex::default(), echo: Arc::clone(echo) };
        node.listen(Protocol::Udp, SocketAddrV4::new(own.address, LINK_PORT))?;
        Ok(node)
    }

    /// What is known of it.
    #[must_use]
    pub fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs `work` as a process of the node would.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.namespace.run(work)
    }

    /// Listens on an address of the node, as [`Cluster::listen`] does.
    ///
    /// # Errors
    /// The address is not the node's, or in use.
    pub fn listen(&self, protocol: Protocol, address: SocketAddrV4) -> Result<(), Error> {
        listen(&self.namespace, &self.echo, protocol, address)
    }

    fn pod(&self, address: Ipv4Addr) -> Result<Pod, Error> {
        let mut pods = self.lock();
        if let Some(pod) = pods.get(&address) {
            return Ok(pod.clone());
        }
        let node = self.facts.address;
        let network = Arc::new(self.namespace.set_up(move || PodNetwork::create(address, node))?);
        let owner = format!("pod {address}");
        let handle = network.namespace().try_clone_to_owned();
        let handle =
            handle.map_err(|source| Error::Socket { what: format!("a handle on {owner}"), source })?;
        let namespace = Namespace { owner, handle: Arc::new(handle) };
        await_link(&namespace, node)?;
        let pod = Pod { network, namespace, echo: Arc::clone(&self.echo) };
        pods.insert(address, pod.clone());
        Ok(pod)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Ipv4Addr, Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pod {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> Ipv4Addr {
        self.network.address()
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Runs `work` as a process of the pod would.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.namespace.run(work)
    }

    /// Listens on the pod's address, as [`Cluster::listen`] does.
    ///
    /// # Errors
    /// The port is in use.
    pub fn listen(&self, protocol: Protocol, port: u16) -> Result<(), Error> {
        listen(&self.namespace, &self.echo, protocol, SocketAddrV4::new(self.address(), port))
    }
}

/// Waits until packets go and come between a namespace and a node. The kernel lets a new interface's packets through
/// only once it has noticed its carrier, which happens a moment after the interface is up; a first packet in that
/// moment is lost, and a lost packet must mean something to a test.
fn await_link(namespace: &Namespace, node: Ipv4Addr) -> Result<(), Error> {
    let heard = namespace.run(move || {
        let until = Instant::now() + probe::PATIENCE;
        let again = Duration::from_millis(5);
        let heard =
            || matches!(probe::udp(SocketAddrV4::new(node, LINK_PORT), again), probe::Answer::Heard(_));
        std::iter::repeat_with(heard).take_while(|_| Instant::now() < until).any(|heard| heard)
    })?;
    if heard { Ok(()) } else { Err(Error::Link { owner: namespace.owner.clone(), peer: node }) }
}

fn listen(
    namespace: &Namespace,
    echo: &echo::Echo,
    protocol: Protocol,
    address: SocketAddrV4,
) -> Result<(), Error> {
    if echo.serves(protocol, address) {
        return Ok(());
    }
    let opened = namespace.run(move || match protocol {
        Protocol::Udp => UdpSocket::bind(address).map(echo::Listener::Udp),
        _ => TcpListener::bind(address).map(echo::Listener::Tcp),
    })?;
    let failed =
        |source| Error::Socket { what: format!("{protocol} {address} in {}", namespace.owner), source };
    echo.add(opened.map_err(failed)?, protocol, address).map_err(failed)
}

/// The node's address or the pod's own.
impl From<&Pod> for IpAddr {
    fn from(pod: &Pod) -> Self {
        IpAddr::V4(pod.address())
    }
}
