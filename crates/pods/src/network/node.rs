//! A node's own namespace: its address on the wire, the routes to the other nodes' pods, the DNS address.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink_packet_route::address::AddressScope;

use super::link;
use super::route::{self, Next};
use super::wire::NODE_INTERFACE;
use super::{Error, Rtnetlink, sysctl};

/// Addresses `eth0` (which [`super::wire::attach`] has put here), brings loopback up, adds the default
/// route and makes the node a router.
///
/// The default route matters even where nothing lies behind it: packets that the node itself makes need a route
/// before the service proxy sees them.
///
/// # Errors
/// The step that the kernel refused.
pub fn configure(address: Ipv4Net, gateway: Ipv4Addr) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    link::set_up(&mut netlink, "lo")?;
    sysctl::set("net/ipv4/ip_forward", "1")?;
    // Hairpin traffic leaves by the interface it came in on, and must not be answered with a redirect. A veth
    // takes "default" when it is made, eth0 exists by now, and "all" wins over both when it is 1.
    for scope in ["all", "default", NODE_INTERFACE] {
        sysctl::set(&format!("net/ipv4/conf/{scope}/send_redirects"), "0")?;
    }
    let eth0 = link::wait_until_usable(&mut netlink, NODE_INTERFACE)?;
    route::add_address(&mut netlink, eth0, address, AddressScope::Universe)?;
    route::set_route(&mut netlink, Ipv4Net::default(), &Next::Gateway(eth0, gateway), None)
}

/// Puts the cluster's DNS address on loopback. Scope host: with the default scope the kernel would take it as
/// the source of the node's own connections and of masqueraded hairpin traffic.
///
/// # Errors
/// The kernel's refusal.
pub fn add_dns_address(address: Ipv4Addr) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let loopback = netlink.link_index("lo")?;
    route::add_address(&mut netlink, loopback, Ipv4Net::from(address), AddressScope::Host)
}

/// Takes the cluster's DNS address from loopback; one that is not there is no error.
///
/// # Errors
/// The kernel's refusal.
pub fn remove_dns_address(address: Ipv4Addr) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let loopback = netlink.link_index("lo")?;
    route::delete_address(&mut netlink, loopback, Ipv4Net::from(address))
}

/// Routes another node's pods over that node's address; replaces an earlier route to the same subnet.
///
/// # Errors
/// The kernel's refusal.
pub fn set_pod_route(pods: Ipv4Net, node: Ipv4Addr) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let eth0 = netlink.link_index(NODE_INTERFACE)?;
    route::set_route(&mut netlink, pods, &Next::Gateway(eth0, node), None)
}

/// Forgets the route to the pods of a node that left; one that is not there is no error.
///
/// # Errors
/// The kernel's refusal.
pub fn delete_pod_route(pods: Ipv4Net) -> Result<(), Error> {
    route::delete_route(&mut Rtnetlink::open()?, pods)
}
