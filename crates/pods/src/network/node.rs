//! A node's own namespace: its address on the wire, the routes to the other nodes' pods, the DNS address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink_packet_route::address::AddressScope;

use super::link;
use super::route::{self, Next};
use super::wire::NODE_INTERFACE;
use super::{Error, Rtnetlink, sysctl};

/// Addresses `eth0` (which [`super::wire::attach`] has put here), brings loopback up, adds the default
/// route and makes the node a router.
///
/// The default route matters even where nothing lies behind it: packets that the node itself makes need a route
/// before the service proxy sees them. A node of both families is configured once for each.
///
/// # Errors
/// The step that the kernel refused.
pub fn configure(address: impl Into<IpNet>, gateway: impl Into<IpAddr>) -> Result<(), Error> {
    let (address, gateway) = (address.into(), gateway.into());
    let mut netlink = Rtnetlink::open()?;
    link::set_up(&mut netlink, "lo")?;
    be_router(address, NODE_INTERFACE)?;
    let eth0 = link::wait_until_usable(&mut netlink, NODE_INTERFACE)?;
    place(&mut netlink, eth0, address)?;
    route::set_route(&mut netlink, everywhere(address), &Next::Gateway(eth0, gateway), None)
}

/// Makes the namespace a router for the address's family.
pub(super) fn be_router(address: IpNet, interface: &str) -> Result<(), Error> {
    if address.addr().is_ipv6() {
        return sysctl::set("net/ipv6/conf/all/forwarding", "1");
    }
    sysctl::set("net/ipv4/ip_forward", "1")?;
    // Hairpin traffic leaves by the interface it came in on, and must not be answered with a redirect. A veth
    // takes "default" when it is made, this interface exists by now, and "all" wins over both when it is 1. (IPv6 has no
    // such switch; its redirects need an address of the link that the neighbours share, which pods' links have not.)
    for scope in ["all", "default", interface] {
        sysctl::set(&format!("net/ipv4/conf/{scope}/send_redirects"), "0")?;
    }
    Ok(())
}

/// Gives an interface on the wire its address. Of IPv6 also a link-local one, from the same host part: without it the
/// kernel asks for no neighbour on behalf of the packets that it forwards.
pub(super) fn place(netlink: &mut Rtnetlink, interface: u32, address: IpNet) -> Result<(), Error> {
    if let IpAddr::V6(own) = address.addr() {
        let host = u128::from(own) & u128::from(u64::MAX);
        let link_local = Ipv6Addr::from(u128::from(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)) | host);
        let link_local = Ipv6Net::new_assert(link_local, 64).into();
        route::add_address(netlink, interface, link_local, AddressScope::Link)?;
    }
    route::add_address(netlink, interface, address, AddressScope::Universe)
}

/// The default route's destination in the address's family.
pub(super) fn everywhere(address: IpNet) -> IpNet {
    if address.addr().is_ipv4() { Ipv4Net::default().into() } else { Ipv6Net::default().into() }
}

/// Puts the cluster's DNS address on loopback. Scope host: with the default scope the kernel would take it as
/// the source of the node's own connections and of masqueraded hairpin traffic.
///
/// # Errors
/// The kernel's refusal.
pub fn add_dns_address(address: Ipv4Addr) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let loopback = netlink.link_index("lo")?;
    route::add_address(&mut netlink, loopback, Ipv4Net::from(address).into(), AddressScope::Host)
}

/// Takes the cluster's DNS address from loopback; one that is not there is no error.
///
/// # Errors
/// The kernel's refusal.
pub fn remove_dns_address(address: Ipv4Addr) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let loopback = netlink.link_index("lo")?;
    route::delete_address(&mut netlink, loopback, Ipv4Net::from(address).into())
}

/// Routes another node's pods over that node's address; replaces an earlier route to the same subnet.
///
/// # Errors
/// The kernel's refusal.
pub fn set_pod_route(pods: impl Into<IpNet>, node: impl Into<IpAddr>) -> Result<(), Error> {
    let mut netlink = Rtnetlink::open()?;
    let eth0 = netlink.link_index(NODE_INTERFACE)?;
    route::set_route(&mut netlink, pods.into(), &Next::Gateway(eth0, node.into()), None)
}

/// Forgets the route to the pods of a node that left; one that is not there is no error.
///
/// # Errors
/// The kernel's refusal.
pub fn delete_pod_route(pods: impl Into<IpNet>) -> Result<(), Error> {
    route::delete_route(&mut Rtnetlink::open()?, pods.into())
}
