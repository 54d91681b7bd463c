//! UDP to one upstream: sockets that are connected to it, each on a random port of its own, with one question at a time.
//!
//! Opening and closing a socket costs more than a question, so a socket is used again, but only for so long and so often
//! that ports remain as hard to guess as ids (RFC 5452 §9.2), and which of the waiting ones a question takes is left to chance.
//! One that has kept a question waiting until the clock ended it is not used again: its answer may still come. What lies in a
//! socket before the question leaves cannot be the answer and is thrown away. The kernel drops what other addresses send.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::{Answered, is_answer};
use crate::server::with_scratch;

/// Questions that one port is used for.
const QUESTIONS_MAX: u32 = 64;
/// How long it is used.
const AGE_MAX: Duration = Duration::from_secs(10);
/// Sockets that wait for the next question. What an upstream is asked at a time is seldom more, and descriptors are few.
const IDLE_MAX: usize = 128;
/// Datagrams from the upstream's address that are no answer to the question: more are an attempt to guess it.
const WRONG_MAX: usize = 32;
/// Largest datagram taken.
const BYTES_MAX: usize = 4096;

/// A connected socket.
struct Port {
    // Registered for reading alone: the kernel would also tell of every datagram that has left.
    socket: AsyncFd<UdpSocket>,
    born: Instant,
    questions: u32,
}

/// The sockets of one upstream that wait.
#[derive(Default)]
pub(crate) struct Ports(Mutex<Idle>);

#[derive(Default)]
struct Idle {
    ports: Vec<Port>,
    /// Somebody will look for those that are too old.
    watched: bool,
}

impl Ports {
    /// Asks `upstream` from `source` and waits for the answer without end: the caller has the clock.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidData`] when somebody seems to guess.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        upstream: SocketAddr,
        source: SocketAddr,
        packet: &[u8],
    ) -> io::Result<Answered> {
        let (mut port, reused) = match self.take() {
            Some(port) => (port, true),
            None => (Port::open(upstream, source)?, false),
        };
        port.questions += 1;
        port.socket.get_ref().send(packet)?;
        let answer = port.answer(packet).await?;
        self.put(port);
        Ok(Answered { answer, reused })
    }

    fn take(&self) -> Option<Port> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !idle.ports.is_empty() {
            let index = rand::random_range(0..idle.ports.len());
            let port = idle.ports.swap_remove(index);
            if port.born.elapsed() < AGE_MAX && port.is_clean() {
                return Some(port);
            }
        }
        None
    }

    fn put(self: &Arc<Self>, port: Port) {
        if port.questions >= QUESTIONS_MAX {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.ports.len() < IDLE_MAX {
            idle.ports.push(port);
            if !std::mem::replace(&mut idle.watched, true) {
                tokio::spawn(close_old(Arc::downgrade(self)));
            }
        }
    }
}

/// Closes sockets that are too old, until there are none.
async fn close_old(ports: Weak<Ports>) {
    loop {
        tokio::time::sleep(AGE_MAX).await;
        let Some(ports) = ports.upgrade() else { return };
        let mut idle = ports.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.ports.retain(|port| port.born.elapsed() < AGE_MAX);
        if idle.ports.is_empty() {
            idle.watched = false;
            return;
        }
    }
}

impl Port {
    /// The kernel picks the port at random.
    fn open(upstream: SocketAddr, source: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(source)?;
        socket.connect(upstream)?;
        socket.set_nonblocking(true)?;
        #[allow(unsafe_code, reason = "tokio's own UdpSocket cannot be registered for reading alone")]
        // SAFETY: a std socket owns its descriptor and returns the same one for as long as it lives, which is as long as the
        // AsyncFd: nothing takes it out.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, born: Instant::now(), questions: 0 })
    }

    /// Throws away what came since the last answer; false when the socket is of no use any more.
    fn is_clean(&self) -> bool {
        for _ in 0..WRONG_MAX {
            match self.socket.get_ref().recv(&mut [0]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // The runtime still believes that there is something to read. What comes from now on, it is told of.
                    let _ = self.socket.try_io(Interest::READABLE, |_| Err::<(), _>(error));
                    return true;
                }
                Err(_) => return false,
            }
        }
        false
    }

    async fn answer(&self, packet: &[u8]) -> io::Result<Vec<u8>> {
        for _ in 0..=WRONG_MAX {
            if let Some(answer) = self.datagram(packet).await? {
                return Ok(answer);
            }
        }
        Err(ErrorKind::InvalidData.into())
    }

    /// The next datagram, if it is the answer.
    async fn datagram(&self, packet: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let read = |socket: &UdpSocket| {
            with_scratch(|buffer| {
                let length = socket.recv(&mut buffer[..BYTES_MAX])?;
                let datagram = &buffer[..length];
                Ok(is_answer(datagram, packet).then(|| datagram.to_vec()))
            })
        };
        self.socket.async_io(Interest::READABLE, read).await
    }
}

#[cfg(test)]
mod tests;
