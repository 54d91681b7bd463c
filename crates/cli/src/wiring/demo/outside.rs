//! Only the cluster reaches a ClusterIP. The host's own namespace has no route for it but the ordinary way out, which
//! is looked up and never used; a namespace beside the cluster has none at all.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::sched::{CloneFlags, unshare};

/// The route that the kernel would take from here to `address`, as `via GATEWAY dev NAME`, or that there is none.
pub(crate) fn route_from_here(address: Ipv4Addr) -> anyhow::Result<String> {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.destination_prefix_length = 32;
    message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
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
            RouteAttribute::Oif(index) => text = format!("{text}dev {}", interface_name(*index)),
            _ => {}
        }
    }
    text
}

fn interface_name(index: u32) -> String {
    let names = nix::net::if_::if_nameindex();
    let found = names.ok().and_then(|names| {
        names
            .iter()
            .find(|interface| interface.index() == index)
            .map(|interface| interface.name().to_string_lossy().into_owned())
    });
    found.unwrap_or_else(|| index.to_string())
}

/// Tries to connect to port 80 of `address` from a fresh network namespace; what comes of it, in words. Nothing can
/// leave that namespace.
pub(crate) fn connect_from_beside(address: Ipv4Addr) -> anyhow::Result<String> {
    // A thread of its own: who entered a namespace as an ordinary user cannot come back.
    let attempt = std::thread::spawn(move || -> anyhow::Result<String> {
        unshare(CloneFlags::CLONE_NEWNET).context("making a namespace beside the cluster")?;
        match TcpStream::connect_timeout(&(address, 80).into(), LIMIT) {
            Ok(_) => bail!("it connected"),
            Err(error) => Ok(error.to_string()),
        }
    });
    attempt.join().map_err(|_| anyhow::anyhow!("the attempt broke off"))?
}

/// How long the attempt may take.
const LIMIT: Duration = Duration::from_secs(1);
