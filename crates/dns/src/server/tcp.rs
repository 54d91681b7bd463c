//! DNS over TCP (RFC 7766): many queries on one connection, answered as they are ready; connections are limited in number,
//! also for each client, and closed when idle.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::{Shared, observe, slow};
use crate::answer::{Context, Outcome, Transport, answer};
use crate::metrics::Worker;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 512;
/// Connections of one client at a time.
const CLIENT_CONNECTIONS_MAX: usize = 64;
/// A connection without a query for this long is closed (RFC 7766 §6.2.3 wants a few seconds).
const IDLE_MAX: Duration = Duration::from_secs(10);
/// The same once the server stops: what is on its way to us is still answered.
const STOPPED_IDLE_MAX: Duration = Duration::from_millis(100);
/// Queries of one connection that may wait for an upstream, or for the client to read.
const PIPELINE_MAX: usize = 32;
/// Pause after a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections now open, for each client.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<IpAddr, usize>>);

/// One connection's share of the limits; given back when dropped.
struct Share {
    limits: Arc<Limits>,
    client: IpAddr,
}

impl Limits {
    fn take(self: &Arc<Self>, client: IpAddr) -> Option<Share> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let total: usize = clients.values().sum();
        let own = clients.entry(client).or_insert(0);
        if total >= CONNECTIONS_MAX || *own >= CLIENT_CONNECTIONS_MAX {
            return None;
        }
        *own += 1;
        Some(Share { limits: Arc::clone(self), client })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut clients = self.limits.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = clients.get_mut(&self.client) {
            *own -= 1;
            if *own == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// What the tasks of a listener share.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) shared: Arc<Shared>,
    pub(super) limits: Arc<Limits>,
    pub(super) workers: [Arc<Worker>; 2],
    /// True when queries may reach it.
    pub(super) open: watch::Receiver<bool>,
    /// True when the server stops.
    pub(super) stopped: watch::Receiver<bool>,
    /// The server waits until nobody has one any more.
    pub(super) _alive: mpsc::Sender<()>,
}

/// Accepts connections until the server stops, then those that wait already. One too many is closed at once.
pub(super) async fn accept(listener: std::net::TcpListener, around: Around) {
    let (mut open, mut stopped) = (around.open.clone(), around.stopped.clone());
    tokio::select! {
        _ = open.wait_for(|open| *open) => {}
        _ = stopped.wait_for(|stopped| *stopped) => return,
    }
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "DNS over TCP is not served"),
    };
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = listener.accept() => accepted,
            // An error says that the server is gone altogether.
            _ = stopped.wait_for(|stopped| *stopped) => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(share) = around.limits.take(peer.ip()) {
                    tokio::spawn(serve(stream, peer, around.clone(), share));
                }
            }
            Err(error) => {
                tracing::debug!(%error, "DNS connection not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, around: Around, share: Share) {
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (answers, ready) = mpsc::channel(PIPELINE_MAX);
    let writing = tokio::spawn(write(writer, ready));
    // A client that closes or breaks the framing ends its connection: nothing to tell it.
    let _ = read(reader, peer, &around, answers).await;
    let _ = writing.await;
    drop(share);
}

async fn read(
    mut reader: OwnedReadHalf,
    peer: SocketAddr,
    around: &Around,
    answers: mpsc::Sender<Vec<u8>>,
) -> io::Result<()> {
    let pipeline = Arc::new(Semaphore::new(PIPELINE_MAX));
    let worker = &around.workers[usize::from(peer.is_ipv6())];
    let mut stopped = around.stopped.clone();
    loop {
        let query = next_message(&mut reader, &mut stopped).await?;
        around.shared.counters.queries.fetch_add(1, Ordering::Relaxed);
        let (answer, partial) = match answer_now(&around.shared, &query, peer, worker) {
            Now::Answer(answer) => (Some(answer), None),
            Now::Silent => return Ok(()),
            Now::Ask(partial) => (None, partial),
        };
        if let Some(answer) = answer {
            answers.send(answer).await.map_err(|_| io::ErrorKind::BrokenPipe)?;
            continue;
        }
        let permit = Arc::clone(&pipeline).acquire_owned().await.map_err(io::Error::other)?;
        let (shared, answers) = (Arc::clone(&around.shared), answers.clone());
        tokio::spawn(async move {
            let answer = slow::ask(&shared, &query, partial.as_deref(), Transport::Tcp, peer).await;
            let _ = answers.send(answer).await;
            drop(permit);
        });
    }
}

/// The next query of a connection; an error when there is none for [`IDLE_MAX`], or for [`STOPPED_IDLE_MAX`] of a server that
/// stops.
async fn next_message(
    reader: &mut OwnedReadHalf,
    stopped: &mut watch::Receiver<bool>,
) -> io::Result<Vec<u8>> {
    let mut reading = pin!(read_message(reader));
    tokio::select! {
        biased;
        message = timeout(IDLE_MAX, &mut reading) => return message?,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    timeout(STOPPED_IDLE_MAX, reading).await?
}

/// What the zone says.
enum Now {
    Answer(Vec<u8>),
    Silent,
    Ask(Option<Vec<u8>>),
}

fn answer_now(shared: &Shared, query: &[u8], peer: SocketAddr, worker: &Worker) -> Now {
    let started = Instant::now();
    let synced = shared.synced.load(Ordering::Acquire);
    let context = Context { transport: Transport::Tcp, synced, rotation: rand::random() };
    let (now, counter) =
        slow::with_scratch(|buffer| match answer(&shared.zone.load(), query, context, buffer) {
            Outcome::Silent => (Now::Silent, None),
            Outcome::Reply(length) => {
                worker.count(query, &buffer[..length]);
                worker.took(1, started.elapsed());
                if worker.is_observed() {
                    observe::one(query, peer, &buffer[..length], shared, worker, started.elapsed());
                }
                (Now::Answer(buffer[..length].to_vec()), Some(&shared.counters.replies))
            }
            Outcome::Forward => (Now::Ask(None), Some(&shared.counters.forwarded)),
            Outcome::Chase(length) => {
                (Now::Ask(Some(buffer[..length].to_vec())), Some(&shared.counters.forwarded))
            }
        });
    counter.map(|counter| counter.fetch_add(1, Ordering::Relaxed));
    now
}

async fn read_message(reader: &mut OwnedReadHalf) -> io::Result<Vec<u8>> {
    let length = reader.read_u16().await?;
    let mut message = vec![0; usize::from(length)];
    reader.read_exact(&mut message).await?;
    Ok(message)
}

async fn write(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<u8>>) -> io::Result<()> {
    while let Some(answer) = answers.recv().await {
        let Ok(length) = u16::try_from(answer.len()) else { continue };
        if length == 0 {
            continue;
        }
        let mut framed = Vec::with_capacity(answer.len() + 2);
        framed.extend(length.to_be_bytes());
        framed.extend(answer);
        // A client that does not read must not hold the connection.
        timeout(IDLE_MAX, writer.write_all(&framed)).await??;
    }
    Ok(())
}
