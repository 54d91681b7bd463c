//! The wire: the network namespace with the bridge that joins the nodes, and the thread that lives in it. The control
//! plane itself stays in the host's namespace and reaches nodes only through sockets that this thread makes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::Context;
use control_plane::NodeDialer;
use futures::future::BoxFuture;
use ipnet::Ipv4Net;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use pods::NodeConfig;
use pods::network::{self, wire::Port};

use super::job_thread::JobThread;

/// The nodes' subnet; the bridge has its first address, node *n* the address 1 + *n*.
pub(crate) const SUBNET: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(172, 18, 0, 0), 24);
/// The bridge's own address: the API and the DNS relay listen here.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(172, 18, 0, 1);

/// Handle to the thread in the wire's namespace, which vanishes with the last socket and the thread.
#[derive(Clone)]
pub(crate) struct Wire {
    thread: JobThread,
}

impl Wire {
    /// Makes the namespace and its bridge.
    pub(crate) fn create() -> anyhow::Result<Self> {
        let enter = || -> anyhow::Result<()> {
            pods::namespace::enter_new_network().context("making the wire's network namespace")?;
            network::wire::create(Ipv4Net::new_assert(GATEWAY, SUBNET.prefix_len()))
                .context("making the wire's bridge")?;
            Ok(())
        };
        Ok(Self { thread: JobThread::start("wire", enter)? })
    }

    /// Joins the network namespace of the node's process `pid` to the bridge.
    pub(crate) fn attach(&self, node: &NodeConfig, pid: u32) -> anyhow::Result<()> {
        let port =
            Port { name: node.name.clone(), node: node.address.addr().into(), pods: node.pod_cidr.into() };
        let attached = self.thread.run(move || -> anyhow::Result<()> {
            let namespace = pods::namespace::network_of(pid)?;
            Ok(network::wire::attach(&port, namespace.as_fd())?)
        })?;
        attached.with_context(|| format!("joining node {} to the wire", node.name))
    }

    /// A TCP listener on the wire.
    pub(crate) fn listen(&self, port: u16) -> anyhow::Result<TcpListener> {
        let listener = self.thread.run(move || TcpListener::bind((GATEWAY, port)))?;
        listener.with_context(|| format!("listening on {GATEWAY}:{port} of the wire"))
    }

    /// A UDP socket on the wire.
    pub(crate) fn bind_udp(&self, port: u16) -> anyhow::Result<UdpSocket> {
        let socket = self.thread.run(move || UdpSocket::bind((GATEWAY, port)))?;
        socket.with_context(|| format!("binding {GATEWAY}:{port}/udp of the wire"))
    }
}

impl NodeDialer for Wire {
    fn dial(&self, address: SocketAddr) -> BoxFuture<'_, io::Result<tokio::net::TcpStream>> {
        let thread = self.thread.clone();
        Box::pin(async move {
            let made = thread.call(tcp_socket).await.map_err(io::Error::other)?;
            let stream = std::net::TcpStream::from(made?);
            // Only the creation must happen in the namespace; the connection is made on the runtime.
            tokio::net::TcpSocket::from_std_stream(stream).connect(address).await
        })
    }
}

fn tcp_socket() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    Ok(socket(AddressFamily::Inet, SockType::Stream, flags, None)?)
}
