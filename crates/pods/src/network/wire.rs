//! The wire: the namespace that joins the nodes, with one bridge that is the nodes' gateway.
//!
//! The control plane's thread that lives in this namespace calls [`create`] once and [`attach`] for each node.
//! Nothing leaves the wire: what is not for a node or for the gateway itself is answered "unreachable", so that
//! a pod's attempt to reach the outside fails at once and does not hang.

use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use ipnet::IpNet;

use super::link::{self, End};
use super::route::{self, Next};
use super::{Error, Rtnetlink, node};
use crate::namespace;

/// The bridge's name.
pub const BRIDGE: &str = "sluice0";

/// The node's own interface on the wire.
pub const NODE_INTERFACE: &str = "eth0";

/// Sets up a fresh namespace as the wire: loopback, the bridge with the gateway's address (`172.18.0.1/24`).
///
/// # Errors
/// The step that the kernel refused.
pub fn create(gateway: impl Into<IpNet>) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    link::quiet_ipv6()?;
    link::set_up(&mut netlink, "lo")?;
    link::create_bridge(&mut netlink, BRIDGE)?;
    add_gateway(gateway)
}

/// Makes the bridge the gateway of one more subnet: of the other family.
///
/// # Errors
/// The step that the kernel refused.
pub fn add_gateway(gateway: impl Into<IpNet>) -> Result<(), Error> {
    let gateway = gateway.into();
    let mut netlink = Rtnetlink::open()?;
    let bridge = netlink.link_index(BRIDGE)?;
    node::place(&mut netlink, bridge, gateway)?;
    route::set_route(&mut netlink, node::everywhere(gateway), &Next::Unreachable, None)?;
    // Without forwarding the kernel drops in silence; with it, the route above answers.
    node::be_router(gateway, BRIDGE)
}

/// A node's place on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Interface name on the bridge: at most 15 bytes, unique on this wire.
    pub name: String,
    /// The node's address, which it gives itself ([`super::node::configure`]).
    pub node: IpAddr,
    /// The subnet of the node's pods: what the gateway sends to them goes by way of the node.
    pub pods: IpNet,
}

/// Plugs a node in: a veth pair with the port on the bridge and `eth0`, up, in the node's network namespace,
/// and the route to its pods. A port of that name left by an earlier life of the node is replaced.
///
/// # Errors
/// The step that the kernel refused.
pub fn attach(port: &Port, namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let Port { name: port, node, pods } = port;
    let mut in_node = open_in_node(port, namespace)?;
    link::delete(&mut netlink, port)?;
    let near = End { name: port, mac: None };
    let far = End { name: NODE_INTERFACE, mac: None };
    link::create_veth(&mut netlink, &near, &far, namespace)?;
    let bridge = netlink.link_index(BRIDGE)?;
    link::set_controller(&mut netlink, port, bridge)?;
    link::set_up(&mut in_node, NODE_INTERFACE)?;
    link::wait_until_usable(&mut in_node, NODE_INTERFACE)?;
    link::wait_until_usable(&mut netlink, port)?;
    route::set_route(&mut netlink, *pods, &Next::Gateway(bridge, *node), None)
}

/// Routes further pods of a node that is plugged in, those of the other family.
///
/// # Errors
/// The kernel's refusal.
pub fn set_pod_route(pods: impl Into<IpNet>, node: impl Into<IpAddr>) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let bridge = netlink.link_index(BRIDGE)?;
    route::set_route(&mut netlink, pods.into(), &Next::Gateway(bridge, node.into()), None)
}

/// A socket in the node's namespace, and the namespace prepared for its first interface.
fn open_in_node(port: &str, namespace: BorrowedFd<'_>) -> Result<Rtnetlink, Error> {
    let failed = |source| Error::Namespace { owner: format!("node {port}"), source };
    let copy = namespace.try_clone_to_owned().map_err(|source| failed(namespace::Error::Enter(source)))?;
    let opened = namespace::on_own_thread(move || {
        namespace::enter_network(copy.as_fd()).map(|()| {
            link::quiet_ipv6()?;
            Rtnetlink::open()
        })
    });
    opened.map_err(failed)?.map_err(failed)?
}

/// Unplugs a node; a port that is not there is no error.
///
/// # Errors
/// The kernel's refusal.
pub fn detach(port: &Port) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    route::delete_route(&mut netlink, port.pods)?;
    link::delete(&mut netlink, &port.name)
}
