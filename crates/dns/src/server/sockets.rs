//! The sockets of one address. They belong to the network namespace of the thread that makes them, so they can be made
//! by a thread in another namespace and handed in.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};

use super::ServerError;

/// Receive buffer asked for, in bytes: about a thousand waiting queries. The kernel may give less.
const RECEIVE_BYTES: usize = 1 << 20;
/// Most UDP threads that are worth it: together they answer more than a million queries a second, and queries that are
/// spread over more sockets come in smaller batches.
const WORKERS_MAX: usize = 8;
/// Tries to find a port that is free for UDP and TCP alike, when any will do.
const PORT_TRIES_MAX: usize = 20;

/// UDP sockets (one for each thread, sharing the port) and the TCP listener of one address. Replies leave from the
/// address that was asked, because each socket is bound to one.
#[derive(Debug)]
pub struct Sockets {
    pub(super) address: SocketAddr,
    pub(super) udp: Vec<UdpSocket>,
    pub(super) tcp: Option<TcpListener>,
}

impl Sockets {
    /// As many UDP threads as this machine, or the processor time that the process may take, runs at a time, and no more
    /// than eight. The kernel spreads flows over the sockets, so one busy core does not hold up all clients.
    #[must_use]
    pub fn default_workers() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(WORKERS_MAX)
    }

    /// Binds `workers` UDP sockets (at least one) with `SO_REUSEPORT`, and TCP, in the namespace of this thread. Port 0
    /// takes any port that both have free.
    ///
    /// # Errors
    /// [`ServerError::Bind`] when the address is not here or the port is taken.
    pub fn bind(address: SocketAddr, workers: usize) -> Result<Self, ServerError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_bind(address, workers.max(1)) {
                Err(_) if address.port() == 0 && tries < PORT_TRIES_MAX => {}
                result => return result,
            }
        }
    }

    fn try_bind(address: SocketAddr, workers: usize) -> Result<Self, ServerError> {
        let failed = |protocol| move |source| ServerError::Bind { address, protocol, source };
        let tcp = TcpListener::bind(address).map_err(failed("TCP"))?;
        let address = tcp.local_addr().map_err(failed("TCP"))?;
        let udp =
            (0..workers).map(|_| bind_udp(address)).collect::<io::Result<_>>().map_err(failed("UDP"))?;
        Ok(Self { address, udp, tcp: Some(tcp) })
    }

    /// Takes sockets that were made elsewhere.
    ///
    /// # Errors
    /// [`ServerError::Socket`] when a socket does not know its address.
    pub fn from_parts(udp: UdpSocket, tcp: Option<TcpListener>) -> Result<Self, ServerError> {
        let address = udp.local_addr().map_err(ServerError::Socket)?;
        Ok(Self { address, udp: vec![udp], tcp })
    }

    /// The address, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReusePort, &true)?;
    // Best effort: an ordinary limit (net.core.rmem_max) cuts it down without an error.
    let _ = socket::setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BYTES);
    socket::bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(address))?;
    Ok(socket.into())
}
