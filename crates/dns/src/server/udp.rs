//! One UDP thread: receive a batch, answer what the zone can, hand the rest to the slow thread, send.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::slow::Job;
use super::{Shared, observe};
use crate::answer::{Context, Outcome, Question, Transport, look_up, reply_code};
use crate::chain::Now;
use crate::datagrams::{BATCH, Batch};
use crate::message::{parse_query, rcode};
use crate::metrics::Worker;

/// Pause after a failed receive (no memory, most likely). The thread must go on: the kernel keeps sending its share of the
/// queries to its socket.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Packets of a batch for which room for many would cost more than it helps: most batches of a server that is not busy.
const FEW: usize = 4;
/// How long a server that stops waits for queries that the kernel had already sent on the way to its socket.
const LAST_PAUSE: Duration = Duration::from_millis(5);

/// Counts of one batch, added to the shared ones at its end.
#[derive(Default)]
struct Tally {
    replies: u64,
    /// Answers to names outside, out of the cache.
    remembered: u64,
    /// Answers of the chain that it has counted itself.
    told: u64,
    forwarded: u64,
    refused: u64,
}

/// Serves from when the server is open until it stops; what is in the socket by then is still answered.
pub(super) fn serve(socket: &Arc<UdpSocket>, shared: &Shared, slow: &mpsc::Sender<Job>, worker: &Worker) {
    shared.gate.pass();
    let mut batch = Batch::grouping();
    let mut rotation: u32 = rand::random();
    let mut empty = 0;
    loop {
        let stopping = shared.stopping.load(Ordering::Acquire);
        match batch.receive(socket.as_fd(), !stopping) {
            Ok(0) | Err(_) if stopping && empty > 0 => return,
            Ok(0) | Err(_) if stopping => {
                empty += 1;
                std::thread::sleep(LAST_PAUSE);
            }
            Ok(count) if count <= FEW => {
                answer_batch::<FEW>(&mut batch, count, &mut rotation, socket, shared, slow, worker);
            }
            Ok(count) => {
                answer_batch::<BATCH>(&mut batch, count, &mut rotation, socket, shared, slow, worker);
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "DNS queries could not be received");
                std::thread::sleep(ERROR_PAUSE);
            }
        }
    }
}

fn answer_batch<const N: usize>(
    batch: &mut Batch,
    count: usize,
    rotation: &mut u32,
    socket: &Arc<UdpSocket>,
    shared: &Shared,
    slow: &mpsc::Sender<Job>,
    worker: &Worker,
) {
    // The clock is read twice for a batch, not for a query.
    let started = Instant::now();
    debug_assert!(count <= N, "there is room for all");
    let zone = shared.zone.load();
    let synced = shared.synced.load(Ordering::Acquire);
    let mut tally = Tally::default();
    // One bit for each packet that the chain has told of itself.
    let mut told = 0_u32;
    let (received, mut replies) = batch.split();
    let mut questions: [_; N] = std::array::from_fn(|_| Question::blank(&zone));
    for (index, question) in questions.iter_mut().take(count).enumerate() {
        question.read(received.packet(index).unwrap_or_default());
    }
    let known = look_up(&zone, &questions);
    for (index, question) in questions.iter().take(count).enumerate() {
        *rotation = rotation.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
        let context = Context { transport: Transport::Udp, synced, rotation: *rotation >> 8 };
        replies.write(index, |buffer| {
            let partial = match question.answer(known[index], context, buffer) {
                Outcome::Reply(length) => {
                    tally.replies += 1;
                    if let Some(packet) = received.packet(index) {
                        worker.count(packet, &buffer[..length]);
                    }
                    return length;
                }
                Outcome::Silent => return 0,
                Outcome::Forward => None,
                Outcome::Chase(length) => Some(buffer[..length].to_vec()),
            };
            let Some((query, peer)) = received.packet(index).zip(received.peer(index)) else { return 0 };
            if partial.is_none()
                && let Some(now) = answer_now(shared, query, peer, buffer)
            {
                if now.told {
                    told |= 1 << index;
                    tally.told += 1;
                } else {
                    worker.count_cached(query, &buffer[..now.length]);
                    tally.remembered += 1;
                }
                return now.length;
            }
            let job = Job { query: query.to_vec(), partial, peer, socket: Arc::clone(socket) };
            if slow.try_send(job).is_ok() {
                tally.forwarded += 1;
                return 0;
            }
            tally.refused += 1;
            refuse(query, buffer)
        });
    }
    // Counted before they are sent: whoever has an answer finds it counted.
    let counters = &shared.counters;
    counters.queries.fetch_add(count as u64, Ordering::Relaxed);
    counters.replies.fetch_add(tally.replies, Ordering::Relaxed);
    let passed_on = tally.forwarded + tally.remembered + tally.told;
    if passed_on + tally.refused > 0 {
        counters.forwarded.fetch_add(passed_on, Ordering::Relaxed);
        counters.refused.fetch_add(tally.refused, Ordering::Relaxed);
    }
    if worker.is_observed() {
        observe::batch(batch, told, shared, worker, started.elapsed());
    }
    batch.send(socket.as_fd());
    worker.took(tally.replies + tally.remembered, started.elapsed());
}

/// The answer of the chain, when it has it without asking anybody.
fn answer_now(shared: &Shared, query: &[u8], peer: SocketAddr, buffer: &mut [u8]) -> Option<Now> {
    shared.chain.load().answer_now(query, peer, buffer)
}

/// The immediate answer when the slow thread's queue is full, as CoreDNS's at `max_concurrent`.
fn refuse(query: &[u8], buffer: &mut [u8]) -> usize {
    let Ok(query) = parse_query(query) else { return 0 };
    match reply_code(&query, Transport::Udp, rcode::REFUSED, buffer) {
        Outcome::Reply(length) => length,
        _ => 0,
    }
}
