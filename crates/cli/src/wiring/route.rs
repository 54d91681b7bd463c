//! Which way the kernel would send a packet from the network namespace that we are in. Asks, and changes nothing.

use std::net::IpAddr;

use anyhow::{Context, bail};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

/// The route that the kernel would take from here to `address`, as `via GATEWAY dev NAME`, or that there is none.
pub(crate) fn from_here(address: IpAddr) -> anyhow::Result<String> {
    let mut message = RouteMessage::default();
    let (family, length, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, 32, RouteAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, 128, RouteAddress::Inet6(address)),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.attributes.push(RouteAttribute::Destination(destination));
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut packet = NetlinkMessage::new(header, RouteNetlinkMessage::GetRoute(message).into());
    packet.finalize();
    let mut bytes = vec![0; packet.buffer_len()];
    packet.serialize(&mut bytes);
    let socket = Socket::new(NETLINK_ROUTE).context("opening a route socket")?;
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0).context("asking for the route")?;
    let (reply, _) = socket.recv_from_full().context("reading the route")?;
    let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&reply).context("reading the route")?;
    Ok(match reply.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(route)) => describe(&route),
        NetlinkPayload::Error(error) => format!("no route ({})", error.to_io()),
        _ => bail!("the kernel answered the question for a route with something else"),
    })
}

fn describe(route: &RouteMessage) -> String {
    let mut text = String::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => text = format!("via {gateway} {text}"),
            RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => text = format!("via {gateway} {text}"),
            RouteAttribute::Oif(index) => text = format!("{text}dev {}", interface_name(*index)),
            _ => {}
        }
    }
    text
}

/// The name of an interface of this namespace, its number when it has gone.
pub(crate) fn interface_name(index: u32) -> String {
    let names = nix::net::if_::if_nameindex();
    let found = names.ok().and_then(|names| {
        names
            .iter()
            .find(|interface| interface.index() == index)
            .map(|interface| interface.name().to_string_lossy().into_owned())
    });
    found.unwrap_or_else(|| index.to_string())
}
