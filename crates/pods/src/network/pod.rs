//! A pod's network namespace, joined to its node by a veth pair and host routes (/32, /128).
//!
//! No bridge on the node: a reply between two pods of one node must pass the node's conntrack, or the reverse
//! translation is lost. Neighbours are permanent both ways, so that the first packet needs no ARP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::address::AddressScope;

use super::link::{self, End, Mac};
use super::route::{self, Next};
use super::{Error, Rtnetlink};
use crate::namespace;

/// The pod's gateway: link-local, on no interface, known to the pod as a permanent neighbour only.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The same of an IPv6 pod.
const GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// The node's end of every pair has the same link-layer address, each on a link of its own.
const NODE_MAC: Mac = [0xee; 6];

/// The pod's end.
const POD_INTERFACE: &str = "eth0";

/// The network namespace of a pod. It lives as long as this handle or a process in it; the veth pair, its
/// routes and neighbours go with it.
#[derive(Debug)]
pub struct PodNetwork {
    namespace: OwnedFd,
    interface: String,
    address: IpAddr,
}

impl PodNetwork {
    /// Makes the namespace and joins it to the node in whose namespace the caller stands. `node` becomes the
    /// source of the node's own packets to the pod. Blocks for about a millisecond.
    ///
    /// # Errors
    /// The step that failed; nothing is left behind then.
    pub fn create(address: impl Into<IpAddr>, node: impl Into<IpAddr>) -> Result<Self, Error> {
        let (address, node) = (address.into(), node.into());
        let owner = || format!("pod {address}");
        let interface = interface_name(address);
        let name = interface.clone();
        let namespace = namespace::on_own_thread(move || set_up(&name, address, node))
            .map_err(|source| Error::Namespace { owner: owner(), source })??;
        Ok(Self { namespace, interface, address })
    }

    /// The namespace, to be entered by the pod's containers.
    pub fn namespace(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }

    /// The name of the node's end of the pair.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// The pod's address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Takes the pair away at once, also while a process still holds the namespace: the address is free again.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn remove(self) -> Result<(), Error> {
        link::delete(&mut Rtnetlink::open()?, &self.interface)
    }
}

/// `pod-1-16` for 10.244.1.16: unique as long as a node's pods share the first two bytes. `pod6-10010` for `fd00::1:10`,
/// unique as long as they share all but the last four.
fn interface_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [_, _, third, fourth] = address.octets();
            format!("pod-{third}-{fourth}")
        }
        IpAddr::V6(address) => format!("pod6-{:x}", u32::from_be_bytes(last_four(&address.octets()))),
    }
}

fn last_four(bytes: &[u8]) -> [u8; 4] {
    bytes.last_chunk().copied().unwrap_or_default()
}

/// Runs on a thread of its own, which ends in the pod's namespace.
fn set_up(interface: &str, address: IpAddr, node: IpAddr) -> Result<OwnedFd, Error> {
    let owner = |source| Error::Namespace { owner: format!("pod {address}"), source };
    let mut on_node = Rtnetlink::open()?;
    let namespace = namespace::enter_new_network().map_err(owner)?;
    let mut in_pod = Rtnetlink::open()?;
    link::quiet_ipv6()?;
    let mac = pod_mac(address);
    let near = End { name: interface, mac: Some(NODE_MAC) };
    let far = End { name: POD_INTERFACE, mac: Some(mac) };
    // What an earlier pod with this address left (its namespace may be dying still) would be in the way.
    link::delete(&mut on_node, interface)?;
    link::create_veth(&mut on_node, &near, &far, namespace.as_fd())?;
    configure_pod(&mut in_pod, address)?;
    let near = link::wait_until_usable(&mut on_node, interface)?;
    route::add_neighbour(&mut on_node, near, address, mac)?;
    route::set_route(&mut on_node, IpNet::from(address), &Next::Link(near), Some(node))?;
    Ok(namespace)
}

fn configure_pod(netlink: &mut Rtnetlink, address: IpAddr) -> Result<(), Error> {
    link::set_up(netlink, "lo")?;
    link::set_up(netlink, POD_INTERFACE)?;
    let eth0 = link::wait_until_usable(netlink, POD_INTERFACE)?;
    route::add_address(netlink, eth0, IpNet::from(address), AddressScope::Universe)?;
    let (gateway, everywhere): (IpAddr, IpNet) = match address {
        IpAddr::V4(_) => (GATEWAY.into(), Ipv4Net::default().into()),
        IpAddr::V6(_) => (GATEWAY_V6.into(), Ipv6Net::default().into()),
    };
    route::add_neighbour(netlink, eth0, gateway, NODE_MAC)?;
    route::set_route(netlink, IpNet::from(gateway), &Next::Link(eth0), None)?;
    route::set_route(netlink, everywhere, &Next::Gateway(eth0, gateway), None)
}

/// Locally administered, and readable: the last four bytes are the address.
fn pod_mac(address: IpAddr) -> Mac {
    let [a, b, c, d] = match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(address) => last_four(&address.octets()),
    };
    [0x0a, 0x58, a, b, c, d]
}
