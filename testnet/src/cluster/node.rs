//! Nodes and pods: namespaces with addresses, made by the product's own primitives.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;
use pods::network::pod::PodNetwork;
use pods::network::{node, wire};
use services::Protocol;

use super::{Error, GATEWAY, Namespace, echo, probe};
use crate::scenario::{Facts, NodeFacts};

/// Where every node answers, so that others see when their link to it carries packets.
const LINK_PORT: u16 = 9;

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

impl Node {
    pub(super) fn start(
        wire: &Namespace,
        index: usize,
        own: &NodeFacts,
        facts: &Facts,
        echo: &Arc<echo::Echo>,
    ) -> Result<Self, Error> {
        let namespace = Namespace::create(&own.name)?;
        let far = Arc::clone(namespace.handle());
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

    /// Listens on an address of the node, as [`super::Cluster::listen`] does.
    ///
    /// # Errors
    /// The address is not the node's, or in use.
    pub fn listen(&self, protocol: Protocol, address: SocketAddrV4) -> Result<(), Error> {
        listen(&self.namespace, &self.echo, protocol, address)
    }

    /// The pod with this address, made now if it is new.
    pub(super) fn pod(&self, address: Ipv4Addr) -> Result<Pod, Error> {
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
        let namespace = Namespace::of(owner, handle);
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

    /// Listens on the pod's address, as [`super::Cluster::listen`] does.
    ///
    /// # Errors
    /// The port is in use.
    pub fn listen(&self, protocol: Protocol, port: u16) -> Result<(), Error> {
        listen(&self.namespace, &self.echo, protocol, SocketAddrV4::new(self.address(), port))
    }
}

/// Waits until packets go and come between a namespace and a node: a lost packet must mean something to a test, and the
/// first ones on new interfaces may be lost for no rule's fault.
pub(super) fn await_link(namespace: &Namespace, node: Ipv4Addr) -> Result<(), Error> {
    let heard = namespace.run(move || {
        let until = Instant::now() + probe::PATIENCE;
        let again = Duration::from_millis(5);
        let heard =
            || matches!(probe::udp(SocketAddrV4::new(node, LINK_PORT), again), probe::Answer::Heard(_));
        std::iter::repeat_with(heard).take_while(|_| Instant::now() < until).any(|heard| heard)
    })?;
    if heard { Ok(()) } else { Err(Error::Link { owner: namespace.owner().to_owned(), peer: node }) }
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
        |source| Error::Socket { what: format!("{protocol} {address} in {}", namespace.owner()), source };
    echo.add(opened.map_err(failed)?, protocol, address).map_err(failed)
}
