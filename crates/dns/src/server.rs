//! The sockets: UDP threads that answer from the published zone, and one thread for everything slow (TCP, forwarding).
//!
//! A query that the zone can answer never leaves the thread that read it: `recvmmsg`, [`crate::answer`], `sendmmsg`, without
//! a lock or an allocation. What the zone does not know goes to the [`Chain`] over a bounded queue, on the slow thread, which
//! runs a small async runtime.
//! All waits block; an idle server costs nothing. The server decides nothing about the zone and reads no API.

mod gate;
mod observe;
mod slow;
mod sockets;
mod tcp;
mod udp;

pub(crate) use slow::with_scratch;
pub use sockets::Sockets;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use gate::Gate;
use tokio::sync::{mpsc, watch};

use crate::answer::Transport;
use crate::chain::{Chain, ChainError};
use crate::corefile::To;
use crate::metrics::Worker;
use crate::zone::Zone;

/// How long a server that stops works on for queries that wait for an upstream, and for open connections.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Queries that wait for the slow thread; more are refused.
const QUEUE_MAX: usize = 1024;
/// Stack of a thread, in bytes: the deepest path is a few kilobytes of query and answer state.
const STACK_BYTES: usize = 256 * 1024;
/// Stack of the slow thread: plugins ask each other, and expressions and TLS need room. It is taken as it is used.
const SLOW_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Why the server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address could not be listened on.
    #[error(
        "cannot listen for DNS on {address} ({protocol}): is the address on this node, and the port free?"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// `UDP` or `TCP`.
        protocol: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A socket that was handed in is of no use.
    #[error("cannot use the DNS socket that was handed in")]
    Socket(#[source] io::Error),
    /// A thread could not be started.
    #[error("cannot start a DNS thread: is the limit of threads reached?")]
    Thread(#[source] io::Error),
    /// The upstreams are of no use.
    #[error("cannot ask the upstream resolvers")]
    Upstreams(#[from] ChainError),
}

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    queries: AtomicU64,
    replies: AtomicU64,
    forwarded: AtomicU64,
    refused: AtomicU64,
}

/// A reading of [`Counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets and TCP messages received.
    pub queries: u64,
    /// Answers given from the zone.
    pub replies: u64,
    /// Queries handed to the chain.
    pub forwarded: u64,
    /// Queries refused because the queue to the slow thread was full.
    pub refused: u64,
}

/// What all threads see.
pub(crate) struct Shared {
    zone: ArcSwap<Zone>,
    synced: AtomicBool,
    stopping: AtomicBool,
    /// Open when queries may be answered.
    gate: Gate,
    /// Answers what the zone does not.
    chain: ArcSwap<Chain>,
    counters: Counters,
}

/// A running server. Dropping it stops it.
pub struct Server {
    shared: Arc<Shared>,
    udp: Vec<Arc<std::net::UdpSocket>>,
    addresses: Vec<SocketAddr>,
    /// Those of the UDP sockets, and the slow one.
    threads: Vec<JoinHandle<()>>,
    slow: Option<JoinHandle<()>>,
    stop: watch::Sender<bool>,
    /// Whether queries reach it.
    opened: watch::Sender<bool>,
    /// Sockets that are to listen once they do.
    deaf: Vec<std::net::TcpListener>,
    /// The chain whose work beside the queries runs on the slow thread.
    chains: watch::Sender<Option<Arc<Chain>>>,
    /// The counters of its threads.
    workers: Vec<Arc<Worker>>,
}

impl Server {
    /// Starts the threads on these sockets; what the zone does not answer, these resolvers do, asked in this order. Until
    /// [`Server::set_synced`] names that do not exist are SERVFAIL.
    ///
    /// # Errors
    /// [`ServerError`] when a socket is unusable or a thread cannot be started; none is left behind.
    pub fn start(
        zone: Arc<Zone>,
        upstreams: Vec<SocketAddr>,
        sockets: Vec<Sockets>,
    ) -> Result<Self, ServerError> {
        let upstreams = upstreams.into_iter().map(To::Dns).collect();
        Self::start_chain(zone, Chain::forwarding(upstreams)?, sockets)
    }

    /// Starts the threads on these sockets; what the zone does not answer, the chain does.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start_chain(
        zone: Arc<Zone>,
        chain: Arc<Chain>,
        sockets: Vec<Sockets>,
    ) -> Result<Self, ServerError> {
        let held = sockets.iter().any(|sockets| sockets.held);
        let shared = Arc::new(Shared {
            zone: ArcSwap::new(zone),
            synced: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            gate: Gate::new(!held),
            chain: ArcSwap::new(chain),
            counters: Counters::default(),
        });
        let (stop, stopped) = watch::channel(false);
        let (opened, open) = watch::channel(!held);
        let (chains, started) = watch::channel(None);
        let (slow, jobs) = mpsc::channel(QUEUE_MAX);
        let addresses = sockets.iter().map(|sockets| sockets.address).collect();
        let mut server = Self {
            shared,
            udp: Vec::new(),
            addresses,
            threads: Vec::new(),
            slow: None,
            stop,
            opened,
            deaf: Vec::new(),
            chains,
            workers: Vec::new(),
        };
        let mut listeners = Vec::new();
        for sockets in sockets {
            listeners.extend(sockets.tcp);
            for socket in sockets.udp {
                server.spawn_udp(Arc::new(socket), slow.clone())?;
            }
        }
        if held {
            let copies = listeners.iter().map(std::net::TcpListener::try_clone);
            server.deaf = copies.collect::<io::Result<_>>().map_err(ServerError::Socket)?;
        }
        server.spawn_slow(listeners, jobs, [open, stopped], started)?;
        Ok(server)
    }

    fn spawn_udp(
        &mut self,
        socket: Arc<std::net::UdpSocket>,
        slow: mpsc::Sender<slow::Job>,
    ) -> Result<(), ServerError> {
        socket.set_nonblocking(false).map_err(ServerError::Socket)?;
        self.udp.push(Arc::clone(&socket));
        let shared = Arc::clone(&self.shared);
        let v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let worker = self.shared.chain.load().worker(Transport::Udp, v6);
        self.workers.push(Arc::clone(&worker));
        let serve = move || udp::serve(&socket, &shared, &slow, &worker);
        self.threads.push(spawn("dns-udp", STACK_BYTES, serve)?);
        Ok(())
    }

    fn spawn_slow(
        &mut self,
        listeners: Vec<std::net::TcpListener>,
        jobs: mpsc::Receiver<slow::Job>,
        states: [watch::Receiver<bool>; 2],
        chains: watch::Receiver<Option<Arc<Chain>>>,
    ) -> Result<(), ServerError> {
        for listener in &listeners {
            listener.set_nonblocking(true).map_err(ServerError::Socket)?;
        }
        let chain = self.shared.chain.load_full();
        let workers = [false, true].map(|v6| chain.worker(Transport::Tcp, v6));
        self.workers.extend(workers.iter().cloned());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServerError::Thread)?;
        let shared = Arc::clone(&self.shared);
        let serve = move || runtime.block_on(slow::serve(shared, listeners, jobs, states, chains, workers));
        self.slow = Some(spawn("dns-slow", SLOW_STACK_BYTES, serve)?);
        Ok(())
    }

    /// Lets queries reach sockets that were reserved. When this returns they do: whose place this server takes may go.
    pub fn open(&mut self) {
        if *self.opened.borrow() {
            return;
        }
        for listener in self.deaf.drain(..) {
            if let Err(error) = sockets::listen(&listener) {
                tracing::error!(%error, "DNS over TCP is not served");
            }
        }
        for socket in &self.udp {
            if let Err(error) = sockets::step_in(socket) {
                tracing::error!(%error, "a DNS socket gets no queries");
            }
        }
        self.shared.gate.open();
        self.opened.send_replace(true);
    }

    /// Answers from this zone from now on. Takes effect with the next query, at once for all threads.
    pub fn publish(&self, zone: Arc<Zone>) {
        self.shared.zone.store(zone);
    }

    /// The zone that is answered from.
    #[must_use]
    pub fn zone(&self) -> Arc<Zone> {
        self.shared.zone.load_full()
    }

    /// Says whether the zone holds everything that the model will have.
    pub fn set_synced(&self, synced: bool) {
        self.shared.synced.store(synced, Ordering::Release);
    }

    /// Answers what the zone does not with the plugins of this chain from now on; queries on their way finish with the old
    /// one. The zone is the caller's business: see [`Chain::hot_zone`].
    pub fn set_chain(&self, chain: Arc<Chain>) {
        self.shared.chain.store(Arc::clone(&chain));
        self.workers.iter().for_each(|worker| chain.takes_on(worker));
        // A send fails only when the slow thread has ended, and then nothing is to be started.
        let _ = self.chains.send(Some(chain));
    }

    /// The addresses listened on, with the ports that were really taken.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.shared.counters;
        Counts {
            queries: read(&counters.queries),
            replies: read(&counters.replies),
            forwarded: read(&counters.forwarded),
            refused: read(&counters.refused),
        }
    }

    /// Stops: queries already received are answered, those that wait for an upstream for [`DRAIN_MAX`] at most; then all
    /// threads have ended. Another server on the same addresses gets the next queries from the first moment on.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.udp.iter().for_each(|socket| sockets::leave(socket));
        self.shared.gate.open();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        // Behind the UDP threads: what they have handed over is there by now.
        let _ = self.stop.send(true);
        if let Some(thread) = self.slow.take() {
            let _ = thread.join();
        }
    }
}

fn spawn(
    name: &str,
    stack: usize,
    work: impl FnOnce() + Send + 'static,
) -> Result<JoinHandle<()>, ServerError> {
    let builder = std::thread::Builder::new().name(name.into()).stack_size(stack);
    builder.spawn(work).map_err(ServerError::Thread)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}
