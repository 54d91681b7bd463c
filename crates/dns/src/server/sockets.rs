//! The sockets of one address. They belong to the network namespace of the thread that makes them, so they can be made
//! by a thread in another namespace and handed in.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;

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
    /// Nothing reaches them before the server opens them.
    pub(super) held: bool,
}

impl Sockets {
    /// As many UDP threads as this machine, or the processor time that the process may take, runs at a time, and no more
    /// than eight. The kernel spreads flows over the sockets, so one busy core does not hold up all clients.
    #[must_use]
    pub fn default_workers() -> usize {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get).min(WORKERS_MAX)
    }

    /// Binds `workers` UDP sockets (at least one), and TCP, in the namespace of this thread. Port 0 takes any port that both
    /// have free. Ports are shared (`SO_REUSEPORT`) with other servers of this user, so that one can take another's place
    /// while that still answers; with anybody else they are not.
    ///
    /// # Errors
    /// [`ServerError::Bind`] when the address is not here or the port is taken.
    pub fn bind(address: SocketAddr, workers: usize) -> Result<Self, ServerError> {
        Self::make(address, workers, false)
    }

    /// The same, but nothing reaches the sockets before [`super::Server::open`]: whoever shares the port gets all until then.
    ///
    /// # Errors
    /// As [`Sockets::bind`].
    pub fn reserve(address: SocketAddr, workers: usize) -> Result<Self, ServerError> {
        Self::make(address, workers, true)
    }

    fn make(address: SocketAddr, workers: usize, held: bool) -> Result<Self, ServerError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::try_bind(address, workers.max(1), held) {
                Err(_) if address.port() == 0 && tries < PORT_TRIES_MAX => {}
                result => return result,
            }
        }
    }

    fn try_bind(address: SocketAddr, workers: usize, held: bool) -> Result<Self, ServerError> {
        let failed = |protocol| move |source| ServerError::Bind { address, protocol, source };
        let tcp = bind_tcp(address).map_err(failed("TCP"))?;
        let address = tcp.local_addr().map_err(failed("TCP"))?;
        if !held {
            listen(&tcp).map_err(failed("TCP"))?;
        }
        let udp = (0..workers).map(|_| bind_udp(address, held)).collect::<io::Result<_>>();
        Ok(Self { address, udp: udp.map_err(failed("UDP"))?, tcp: Some(tcp), held })
    }

    /// Takes sockets that were made elsewhere.
    ///
    /// # Errors
    /// [`ServerError::Socket`] when a socket does not know its address.
    pub fn from_parts(udp: UdpSocket, tcp: Option<TcpListener>) -> Result<Self, ServerError> {
        let address = udp.local_addr().map_err(ServerError::Socket)?;
        Ok(Self { address, udp: vec![udp], tcp, held: false })
    }

    /// The address, with the port that was really taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Connections that wait to be accepted, as in the standard library.
const BACKLOG: i32 = 128;

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&socket, sockopt::ReusePort, &true)?;
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(socket.into())
}

/// Takes connections from now on.
pub(super) fn listen(listener: &TcpListener) -> io::Result<()> {
    Ok(socket::listen(listener, socket::Backlog::new(BACKLOG)?)?)
}

/// Takes a UDP socket out of the group that shares its port. What is in it stays readable, and answers may leave by it; new
/// queries go to the others of the group, or are refused when there is none.
///
/// A connected socket gets what its peer sends alone, and the kernel passes it over when it chooses from a group (since
/// 5.4); its peer is itself, who sends nothing.
fn step_aside(socket: &UdpSocket) -> io::Result<()> {
    socket.connect(socket.local_addr()?)
}

/// Undoes [`step_aside`]; the socket keeps its address and port, which it was bound to.
#[allow(unsafe_code, reason = "no wrapper connects to AF_UNSPEC")]
pub(super) fn step_in(socket: &UdpSocket) -> io::Result<()> {
    let nobody = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the address lives during the call and is as long as is said.
    let done = unsafe {
        libc::connect(socket.as_raw_fd(), &raw const nobody, size_of::<libc::sockaddr>() as libc::socklen_t)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Steps aside for good, and wakes who waits at the socket.
pub(super) fn leave(socket: &UdpSocket) {
    if let Err(error) = step_aside(socket) {
        // The address has gone from this machine, and so have its clients.
        tracing::debug!(%error, "a DNS socket stays in its group until it is closed");
    }
    // Where the socket did not step aside this reports ENOTCONN and still wakes the thread that waits in recvmmsg.
    let _ = socket::shutdown(socket.as_raw_fd(), socket::Shutdown::Read);
}

fn bind_udp(address: SocketAddr, held: bool) -> io::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket::socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&socket, sockopt::ReusePort, &true)?;
    // Best effort: without CAP_NET_ADMIN an ordinary limit (net.core.rmem_max) cuts it down without an error.
    if socket::setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES).is_err() {
        let _ = socket::setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BYTES);
    }
    socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    let socket = socket.into();
    if held {
        step_aside(&socket)?;
    }
    Ok(socket)
}
