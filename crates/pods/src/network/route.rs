//! Addresses, routes and permanent neighbours of both families.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::{
    RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Error;
use super::link::Mac;
use super::netlink::{Mode, Rtnetlink};

/// Adds `address` (with its prefix) to the interface with index `link`; one that is there already is kept. It is usable at
/// once: whoever calls this decides on addresses, there is no other owner to detect.
pub(crate) fn add_address(
    netlink: &mut Rtnetlink,
    link: u32,
    address: IpNet,
    scope: AddressScope,
) -> Result<(), Error> {
    let mut message = address_on(link, address);
    message.header.scope = scope;
    if address.addr().is_ipv6() {
        message.header.flags = AddressHeaderFlags::Nodad;
    }
    let operation = format!("adding address {address}");
    netlink.request(&operation, RouteNetlinkMessage::NewAddress(message), Mode::Replace)
}

/// Takes `address` from the interface with index `link`; one that is not there is no error.
pub(crate) fn delete_address(netlink: &mut Rtnetlink, link: u32, address: IpNet) -> Result<(), Error> {
    let operation = format!("deletion of address {address}");
    let message = RouteNetlinkMessage::DelAddress(address_on(link, address));
    match netlink.request(&operation, message, Mode::Change) {
        Err(error) if error.errno() == Some(libc::EADDRNOTAVAIL) => Ok(()),
        result => result,
    }
}

fn address_on(link: u32, address: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address.addr());
    message.header.prefix_len = address.prefix_len();
    message.header.index = link;
    message.attributes.push(AddressAttribute::Local(address.addr()));
    message.attributes.push(AddressAttribute::Address(address.addr()));
    message
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// Where a route leads.
pub(crate) enum Next {
    /// Straight onto the link.
    Link(u32),
    /// To a gateway on that link.
    Gateway(u32, IpAddr),
    /// Nowhere: the kernel answers "host unreachable".
    Unreachable,
}

/// Adds or replaces a route; `source` is the address that packets made here take.
pub(crate) fn set_route(
    netlink: &mut Rtnetlink,
    destination: IpNet,
    next: &Next,
    source: Option<IpAddr>,
) -> Result<(), Error> {
    let mut message = message_to(destination);
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    match next {
        Next::Link(link) => {
            message.header.scope = RouteScope::Link;
            message.attributes.push(RouteAttribute::Oif(*link));
        }
        Next::Gateway(link, gateway) => {
            message.attributes.push(RouteAttribute::Oif(*link));
            message.attributes.push(RouteAttribute::Gateway((*gateway).into()));
        }
        Next::Unreachable => message.header.kind = RouteType::Unreachable,
    }
    message.attributes.extend(source.map(|source| RouteAttribute::PrefSource(source.into())));
    let operation = format!("setting the route to {destination}");
    netlink.request(&operation, RouteNetlinkMessage::NewRoute(message), Mode::Replace)
}

/// Deletes the route to `destination`; one that is not there is no error.
pub(crate) fn delete_route(netlink: &mut Rtnetlink, destination: IpNet) -> Result<(), Error> {
    let mut message = message_to(destination);
    message.header.scope = RouteScope::NoWhere;
    let operation = format!("deletion of the route to {destination}");
    match netlink.request(&operation, RouteNetlinkMessage::DelRoute(message), Mode::Change) {
        Err(error) if error.errno() == Some(libc::ESRCH) => Ok(()),
        result => result,
    }
}

fn message_to(destination: IpNet) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination.addr());
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.destination_prefix_length = destination.prefix_len();
    if destination.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(destination.network().into()));
    }
    message
}

/// Adds a permanent neighbour: no ARP and no solicitation for it, ever. proxy_arp in its place delays first packets by up to 0.8 s.
pub(crate) fn add_neighbour(
    netlink: &mut Rtnetlink,
    link: u32,
    address: IpAddr,
    mac: Mac,
) -> Result<(), Error> {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = link;
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::Destination(address.into()));
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    let operation = format!("adding neighbour {address}");
    netlink.request(&operation, RouteNetlinkMessage::NewNeighbour(message), Mode::Replace)
}
