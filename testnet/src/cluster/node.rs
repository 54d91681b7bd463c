//! Nodes and pods: namespaces with addresses, made by the product's own primitives.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use pods::network::pod::PodNetwork;
use pods::network::{node, wire};
use services::Protocol;

use super::{Error, Namespace, echo, gateway_of, probe, sctp};
use crate::scenario::{Facts, NodeFacts};

/// Where every node answers, so that others see when their link to it carries packets.
const LINK_PORT: u16 = 9;

/// A node: a network namespace with an address on the wire.
#[derive(Debug)]
pub struct Node {
    facts: NodeFacts,
    namespace: Namespace,
    pods: Mutex<BTreeMap<IpAddr, Pod>>,
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
        let gateways: Vec<IpAddr> = own.addresses.iter().map(|address| gateway_of(*address).addr()).collect();
        let started = Self::plug(wire, &format!("node-{index}"), own, &gateways, echo)?;
        let others = facts.nodes.iter().filter(|node| node.name != own.name);
        let routes: Vec<(IpNet, IpAddr)> = others.flat_map(routes).collect();
        let routes = routes.into_iter().filter(|(_, node)| own.address_to(*node).is_some());
        let routes: Vec<(IpNet, IpAddr)> = routes.collect();
        let dns =
            facts.dns.as_ref().filter(|(_, nodes)| nodes.contains(&own.name)).map(|(address, _)| *address);
        started.namespace.set_up(move || {
            dns.map_or(Ok(()), node::add_dns_address)?;
            routes.into_iter().try_for_each(|(pods, node)| node::set_pod_route(pods, node))
        })?;
        Ok(started)
    }

    /// Joins a new namespace to the wire, `port` its name there; each of its addresses has a gateway.
    pub(super) fn plug(
        wire: &Namespace,
        port: &str,
        own: &NodeFacts,
        gateways: &[IpAddr],
        echo: &Arc<echo::Echo>,
    ) -> Result<Self, Error> {
        let namespace = Namespace::create(&own.name)?;
        let far = Arc::clone(namespace.handle());
        let mut ways = routes(own).into_iter();
        let (pods, node) = ways.next().ok_or_else(|| Error::NoNode(own.name.clone()))?;
        let port = wire::Port { name: port.to_owned(), node, pods };
        let further: Vec<_> = ways.collect();
        wire.set_up(move || {
            wire::attach(&port, far.as_fd())?;
            further.into_iter().try_for_each(|(pods, node)| wire::set_pod_route(pods, node))
        })?;
        let addresses: Vec<(IpNet, IpAddr)> = own
            .addresses
            .iter()
            .map(|address| IpNet::new_assert(*address, gateway_of(*address).prefix_len()))
            .zip(gateways.iter().copied())
            .collect();
        namespace.set_up(move || {
            addresses.into_iter().try_for_each(|(address, gateway)| node::configure(address, gateway))
        })?;
        let node = Self { facts: own.clone(), namespace, pods: Mutex::default(), echo: Arc::clone(echo) };
        own.primaries()
            .try_for_each(|address| node.listen(Protocol::Udp, SocketAddr::new(address, LINK_PORT)))?;
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
    pub fn listen(&self, protocol: Protocol, address: SocketAddr) -> Result<(), Error> {
        listen(&self.namespace, &self.echo, protocol, address)
    }

    /// The pod with this address, made now if it is new.
    pub(super) fn pod(&self, address: IpAddr) -> Result<Pod, Error> {
        let mut pods = self.lock();
        if let Some(pod) = pods.get(&address) {
            return Ok(pod.clone());
        }
        let node = self.facts.address_to(address).ok_or(Error::Nowhere(address))?;
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The node's pod networks, each with the node's address of its family: the way there.
fn routes(node: &NodeFacts) -> Vec<(IpNet, IpAddr)> {
    let way = |pods: &IpNet| Some((*pods, node.address_to(pods.addr())?));
    node.pod_cidrs.iter().filter_map(way).collect()
}

impl Pod {
    /// Its address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
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
        listen(&self.namespace, &self.echo, protocol, SocketAddr::new(self.address(), port))
    }
}

/// Waits until packets go and come between a namespace and a node: a lost packet must mean something to a test, and the
/// first ones on new interfaces may be lost for no rule's fault.
pub(super) fn await_link(namespace: &Namespace, node: IpAddr) -> Result<(), Error> {
    let heard = namespace.run(move || {
        let until = Instant::now() + probe::PATIENCE;
        let again = Duration::from_millis(5);
        let heard = || matches!(probe::udp(SocketAddr::new(node, LINK_PORT), again), probe::Answer::Heard(_));
        std::iter::repeat_with(heard).take_while(|_| Instant::now() < until).any(|heard| heard)
    })?;
    if heard { Ok(()) } else { Err(Error::Link { owner: namespace.owner().to_owned(), peer: node }) }
}

fn listen(
    namespace: &Namespace,
    echo: &echo::Echo,
    protocol: Protocol,
    address: SocketAddr,
) -> Result<(), Error> {
    if echo.serves(protocol, address) {
        return Ok(());
    }
    let opened = namespace.run(move || match protocol {
        Protocol::Udp => UdpSocket::bind(address).map(echo::Listener::Udp),
        Protocol::Tcp => TcpListener::bind(address).map(echo::Listener::Tcp),
        Protocol::Sctp => sctp::Listener::bind(address).map(echo::Listener::Sctp),
    })?;
    let failed =
        |source| Error::Socket { what: format!("{protocol} {address} in {}", namespace.owner()), source };
    echo.add(opened.map_err(failed)?, protocol, address).map_err(failed)
}
