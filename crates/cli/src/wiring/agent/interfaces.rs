//! The addresses of the node's interfaces, as they come and go. A notification of the kernel says only that something
//! changed: the list is read anew, so that one that got lost (ENOBUFS) costs nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use anyhow::Context;
use futures::stream::{self, Stream};
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};
use nix::sys::socket::SockaddrLike;
use tracing::warn;

/// RTMGRP_IPV4_IFADDR and RTMGRP_IPV6_IFADDR.
const ADDRESS_GROUPS: u32 = 0x10 | 0x100;
/// A new interface gets its addresses one after the other; and a flood of notifications is read in steps.
const SETTLING: Duration = Duration::from_millis(20);
/// Bytes; what is longer is cut, and was not of interest anyway.
const NOTIFICATION_MAX: usize = 8192;

/// The addresses in this thread's network namespace now, and again after each change.
///
/// # Errors
/// When the kernel gives no socket for notifications.
pub(crate) fn watch() -> anyhow::Result<impl Stream<Item = BTreeSet<IpAddr>>> {
    let open = || -> std::io::Result<_> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        socket.socket_mut().bind(&SocketAddr::new(0, ADDRESS_GROUPS))?;
        Ok(socket)
    };
    let socket = open().context("listening for changes of the node's addresses")?;
    Ok(stream::unfold((socket, false), |(socket, waits)| async move {
        if waits {
            changed(&socket).await;
        }
        Some((list(), (socket, true)))
    }))
}

/// Waits for a notification, and takes in all those that follow soon.
async fn changed(socket: &TokioSocket) {
    let mut buffer = Vec::with_capacity(NOTIFICATION_MAX);
    // A failure is ENOBUFS: some got lost, which also says that something changed.
    let _ = socket.recv(&mut buffer).await;
    let settled = tokio::time::sleep(SETTLING);
    tokio::pin!(settled);
    loop {
        buffer.clear();
        tokio::select! {
            () = &mut settled => return,
            _ = socket.recv(&mut buffer) => {}
        }
    }
}

fn list() -> BTreeSet<IpAddr> {
    let interfaces = match nix::ifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            warn!("the node's addresses cannot be read: {error}");
            return BTreeSet::new();
        }
    };
    let addresses = interfaces.filter_map(|interface| interface.address);
    addresses
        .filter_map(|address| match address.family() {
            Some(nix::sys::socket::AddressFamily::Inet) => address.as_sockaddr_in().map(|v4| v4.ip().into()),
            Some(nix::sys::socket::AddressFamily::Inet6) => {
                address.as_sockaddr_in6().map(|v6| v6.ip().into())
            }
            _ => None,
        })
        .collect()
}
