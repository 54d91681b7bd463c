//! The servers of a cluster: every listener is served by one thread, which stands in none of their namespaces.
//!
//! A client is told which server it reached and which address the server saw it come from: `10.244.2.15:9898
//! 10.244.1.5:40000`. That is all that a test of forwarding needs to know.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use services::Protocol;

use super::sctp;

/// What a client is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The server's own address.
    pub server: SocketAddr,
    /// The client's address as the server sees it.
    pub client: SocketAddr,
}

impl Heard {
    /// Reads the servers' text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (server, client) = text.trim().split_once(' ')?;
        Some(Self { server: server.parse().ok()?, client: client.parse().ok()? })
    }
}

/// An open listener.
#[derive(Debug)]
pub(super) enum Listener {
    Tcp(TcpListener),
    Udp(UdpSocket),
    Sctp(sctp::Listener),
}

impl Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
            Self::Sctp(listener) => listener.as_fd(),
        }
    }

    /// Answers whoever is waiting. A client that is gone again is no trouble.
    fn serve(&self, address: SocketAddr) {
        match self {
            Self::Tcp(listener) => {
                while let Ok((mut stream, client)) = listener.accept() {
                    let _ = stream.write_all(format!("{address} {client}\n").as_bytes());
                }
            }
            Self::Udp(socket) => {
                let mut datagram = vec![0; 65_535];
                while let Ok((length, client)) = socket.recv_from(&mut datagram) {
                    // As long as the question, for those that ask for fragments.
                    let text = format!("{:length$}", format!("{address} {client}\n"));
                    let _ = socket.send_to(text.as_bytes(), client);
                }
            }
            Self::Sctp(listener) => listener.serve(),
        }
    }
}

/// One listener with what it listens on.
type Served = (Arc<Listener>, Protocol, SocketAddr);

#[derive(Debug)]
pub(super) struct Echo {
    listeners: Arc<Mutex<Vec<Served>>>,
    stopped: Arc<AtomicBool>,
    /// A byte here makes the thread look at the list anew.
    wake: UnixStream,
}

impl Echo {
    pub(super) fn start() -> io::Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        woken.set_nonblocking(true)?;
        let listeners = Arc::<Mutex<Vec<Served>>>::default();
        let stopped = Arc::<AtomicBool>::default();
        let (list, stop) = (Arc::clone(&listeners), Arc::clone(&stopped));
        thread::Builder::new().name("echo".to_owned()).spawn(move || serve(&list, &stop, &woken))?;
        Ok(Self { listeners, stopped, wake })
    }

    pub(super) fn serves(&self, protocol: Protocol, address: SocketAddr) -> bool {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.iter().any(|(_, known, on)| (*known, *on) == (protocol, address))
    }

    pub(super) fn add(&self, listener: Listener, protocol: Protocol, address: SocketAddr) -> io::Result<()> {
        match &listener {
            Listener::Tcp(listener) => listener.set_nonblocking(true)?,
            Listener::Udp(socket) => socket.set_nonblocking(true)?,
            Listener::Sctp(_) => {}
        }
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push((Arc::new(listener), protocol, address));
        drop(listeners);
        (&self.wake).write_all(b"+")
    }

    /// Ends the thread and with it the listeners.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let _ = (&self.wake).write_all(b"-");
    }
}

fn serve(listeners: &Mutex<Vec<Served>>, stopped: &AtomicBool, mut woken: &UnixStream) {
    while !stopped.load(Ordering::Acquire) {
        let served = listeners.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut ready = vec![PollFd::new(woken.as_fd(), PollFlags::POLLIN)];
        ready.extend(served.iter().map(|(listener, ..)| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        if poll(&mut ready, PollTimeout::NONE).is_err() {
            continue;
        }
        let ready: Vec<bool> = ready.iter().map(|fd| fd.any().unwrap_or(false)).collect();
        if ready[0] && woken.read(&mut [0; 64]).is_ok_and(|bytes| bytes == 0) {
            return;
        }
        let waiting = served.iter().zip(&ready[1..]).filter(|(_, ready)| **ready);
        waiting.for_each(|((listener, _, address), _)| listener.serve(*address));
    }
}
