//! What a UDP thread tells of a batch when somebody watches, or the Corefile says `log`.

use std::net::SocketAddr;
use std::time::Duration;

use super::Shared;
use crate::answer::Transport;
use crate::chain::Exchange;
use crate::datagrams::Batch;
use crate::message::rcode;
use crate::metrics::Worker;
use crate::tap::Seen;

/// Tells of the answers of a batch, but for those in `told` (one bit each), which the chain has told of.
#[cold]
pub(super) fn batch(batch: &Batch, told: u32, shared: &Shared, worker: &Worker, duration: Duration) {
    let received = batch.received();
    let answered = batch.answered().filter(|(index, _)| told & 1 << index == 0);
    let exchanges = answered.filter_map(|(index, answer)| {
        let (query, peer) = (received.packet(index)?, received.peer(index)?);
        Some(Exchange { query, peer, answer, transport: Transport::Udp, duration })
    });
    if worker.tap().is_watched() {
        worker.tap().note(exchanges.clone().map(|exchange| seen(&exchange)));
    }
    if worker.is_logged() {
        shared.chain.load().log_hot(exchanges);
    }
}

/// The same for one query that came over TCP.
pub(super) fn one(
    query: &[u8],
    peer: SocketAddr,
    answer: &[u8],
    shared: &Shared,
    worker: &Worker,
    duration: Duration,
) {
    let exchange = Exchange { query, peer, answer, transport: Transport::Tcp, duration };
    if worker.tap().is_watched() {
        worker.tap().note(std::iter::once(seen(&exchange)));
    }
    if worker.is_logged() {
        shared.chain.load().log_hot(std::iter::once(exchange));
    }
}

fn seen<'e>(exchange: &Exchange<'e>) -> Seen<'e> {
    let Exchange { query, peer, answer, duration, .. } = *exchange;
    Seen { query, client: Some(peer.ip()), answer, plugin: plugin_of(answer), duration }
}

/// The zone's answers have AA, the cache's have not; a full queue refuses.
fn plugin_of(answer: &[u8]) -> &'static str {
    match (answer.get(2).map_or(0, |flags| flags & 0x04), answer.get(3).map_or(0, |code| code & 0x0f)) {
        (0, code) if u16::from(code) == rcode::NOERROR || u16::from(code) == rcode::NXDOMAIN => "cache",
        (0, _) => "",
        _ => "kubernetes",
    }
}
