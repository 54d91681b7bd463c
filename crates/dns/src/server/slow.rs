//! The slow thread: asks the chain for what the zone cannot say, and runs the TCP side. One async runtime, so a
//! thousand waiting queries cost no thread each.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;

use super::{DRAIN_MAX, Shared, tcp};
use crate::answer::{Outcome, Transport, reply_code};
use crate::chain::Chain;
use crate::message::{parse_query, rcode};
use crate::metrics::Worker;

/// UDP queries that may wait for upstreams at a time, those that wait for each other's answer included; more are refused.
const WAITING_MAX: usize = 4096;
/// Room for any answer.
const ANSWER_BYTES: usize = 65_535;

/// A UDP query that needs the chain.
#[derive(Debug)]
pub(super) struct Job {
    /// The query.
    pub(super) query: Vec<u8>,
    /// Our part of the answer, when an alias leads outside.
    pub(super) partial: Option<Vec<u8>>,
    /// Who asked.
    pub(super) peer: SocketAddr,
    /// The socket that was asked: the answer must leave by it.
    pub(super) socket: Arc<UdpSocket>,
}

/// Runs until the server stops, and then for as long as queries wait or connections are in use, but not longer than
/// [`DRAIN_MAX`]: who has no answer by then asks again.
pub(super) async fn serve(
    shared: Arc<Shared>,
    listeners: Vec<std::net::TcpListener>,
    mut jobs: mpsc::Receiver<Job>,
    [open, mut stopped]: [watch::Receiver<bool>; 2],
    mut chains: watch::Receiver<Option<Arc<Chain>>>,
    workers: [Arc<Worker>; 2],
) {
    let limits = Arc::new(tcp::Limits::default());
    let places = Arc::new(Semaphore::new(WAITING_MAX));
    // Each task holds one end: when all are gone, nothing is left to do.
    let (alive, mut all) = mpsc::channel::<()>(1);
    for listener in listeners {
        let around = tcp::Around {
            shared: Arc::clone(&shared),
            limits: Arc::clone(&limits),
            workers: workers.clone(),
            open: open.clone(),
            stopped: stopped.clone(),
            _alive: alive.clone(),
        };
        tokio::spawn(tcp::accept(listener, around));
    }
    let take = |job: Job| match Arc::clone(&places).try_acquire_owned() {
        Ok(place) => drop(tokio::spawn(answer_job(job, Arc::clone(&shared), place, alive.clone()))),
        Err(_) => refuse_job(&job, &shared),
    };
    loop {
        tokio::select! {
            Some(job) = jobs.recv() => take(job),
            Ok(()) = chains.changed() => {
                let chain = chains.borrow_and_update().clone();
                if let Some(chain) = chain {
                    chain.start();
                }
            }
            _ = stopped.changed() => break,
        }
    }
    while let Ok(job) = jobs.try_recv() {
        take(job);
    }
    drop(alive);
    let _ = timeout(DRAIN_MAX, all.recv()).await;
}

async fn answer_job(job: Job, shared: Arc<Shared>, _place: OwnedSemaphorePermit, _alive: mpsc::Sender<()>) {
    let answer = ask(&shared, &job.query, job.partial.as_deref(), Transport::Udp, job.peer).await;
    if answer.is_empty() {
        return;
    }
    if let Err(error) = job.socket.send_to(&answer, job.peer) {
        tracing::debug!(%error, peer = %job.peer, "forwarded DNS answer was not sent");
    }
}

/// As the UDP threads do when the queue is full.
fn refuse_job(job: &Job, shared: &Shared) {
    shared.counters.refused.fetch_add(1, Ordering::Relaxed);
    let Ok(query) = parse_query(&job.query) else { return };
    with_scratch(|buffer| {
        if let Outcome::Reply(length) = reply_code(&query, Transport::Udp, rcode::REFUSED, buffer) {
            // The client asks again, or another server: nothing is lost that was not lost already.
            let _ = job.socket.send_to(&buffer[..length], job.peer);
        }
    });
}

/// The whole answer to a query that the zone cannot answer alone. `partial` is the zone's part, if it has one. Empty when
/// there is nothing to send.
pub(super) async fn ask(
    shared: &Shared,
    packet: &[u8],
    partial: Option<&[u8]>,
    transport: Transport,
    peer: SocketAddr,
) -> Vec<u8> {
    shared.chain.load_full().answer(packet, partial, transport, peer).await
}

/// Lends room for any answer: one buffer for the whole thread, which all of its tasks share.
pub(crate) fn with_scratch<T>(use_: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; ANSWER_BYTES]);
    }
    SCRATCH.with_borrow_mut(|buffer| use_(buffer))
}
