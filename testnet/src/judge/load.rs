//! Clients that go on connecting while a change is made: as long as there is an endpoint before and after, no
//! connection may fail, and none may end elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::sender::{Sender, said};
use crate::cluster::probe::{self, Answer, PATIENCE};
use crate::cluster::{Cluster, Error};
use crate::scenario::{Outcome, Packet, PacketCase, Probe, Step, Target};

/// Connections of each client during one change.
const CONNECTIONS: u32 = 60;

/// How long a change may be made and taken back for that, on a busy machine.
const LONGEST: Duration = Duration::from_secs(2);

/// A client of the load.
#[derive(Debug)]
pub(super) struct Client {
    /// Line of its packet in the step after the change.
    line: usize,
    packet: Packet,
    /// Where it may end, before or after.
    targets: Vec<Target>,
}

/// The connections that both steps expect to succeed. TCP only: of a UDP flow that is cut, an answer under way is lost.
pub(super) fn steady(before: &Step, after: &Step) -> Vec<Client> {
    let targets = |case: &PacketCase| match &case.outcome {
        Outcome::Targets(targets) if case.packet.probe == Probe::Tcp => Some(targets.clone()),
        _ => None,
    };
    let mut clients = Vec::new();
    for case in &after.packets {
        let same = before.packets.iter().find(|other| other.packet == case.packet);
        if let (Some(mut union), Some(now)) = (same.and_then(targets), targets(case)) {
            union.extend(now);
            clients.push(Client { line: case.line, packet: case.packet.clone(), targets: union });
        }
    }
    clients
}

/// The clients at work.
#[derive(Debug, Default)]
pub(super) struct Load {
    over: AtomicBool,
    /// Connections of each client so far.
    counts: Vec<AtomicU32>,
}

impl Load {
    /// True until every client has met the change often enough.
    fn wants_more(&self, since: Instant) -> bool {
        let few = |count: &AtomicU32| count.load(Ordering::Relaxed) < CONNECTIONS;
        self.counts.iter().any(few) && since.elapsed() < LONGEST && !self.over.load(Ordering::Acquire)
    }
}

/// Calls `flip` (make the change, take it back) for as long as the clients want more of it; returns the faults of
/// connections, by line. Without clients it is not called.
pub(super) fn under_load<T: From<Error>>(
    cluster: &Cluster,
    clients: &[Client],
    mut flip: impl FnMut() -> Result<(), T>,
) -> Result<Vec<(usize, String)>, T> {
    let senders = clients.iter().map(|client| Sender::find(cluster, &client.packet));
    let senders: Vec<Sender> = senders.collect::<Result<_, Error>>()?;
    let counts = clients.iter().map(|_| AtomicU32::new(0)).collect();
    let load = Arc::new(Load { over: AtomicBool::new(false), counts });
    thread::scope(|scope| {
        let at_work = clients.iter().zip(senders).enumerate();
        let threads: Vec<_> = at_work
            .map(|(index, (client, sender))| {
                let load = Arc::clone(&load);
                scope.spawn(move || go_on(client, &sender, index, load))
            })
            .collect();
        let (since, mut flipped) = (Instant::now(), Ok(()));
        while flipped.is_ok() && load.wants_more(since) {
            flipped = flip();
        }
        load.over.store(true, Ordering::Release);
        let faults = threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect();
        flipped.map(|()| faults)
    })
}

/// Connects until the change is over, or to the first fault, which ends it.
fn go_on(client: &Client, sender: &Sender, index: usize, load: Arc<Load>) -> Option<(usize, String)> {
    let (targets, destination) = (client.targets.clone(), client.packet.destination);
    let connected = sender.namespace.run(move || {
        while !load.over.load(Ordering::Acquire) {
            let answer = probe::tcp(destination, PATIENCE);
            let count = load.counts[index].fetch_add(1, Ordering::Relaxed) + 1;
            if !matches!(&answer, Answer::Heard(heard) if targets.iter().any(|target| target.address == heard.server)) {
                load.over.store(true, Ordering::Release);
                return Some(format!("connection {count} during the change: {}", said(&answer)));
            }
        }
        None
    });
    let fault = connected.unwrap_or_else(|error| Some(super::chain(&error)))?;
    Some((client.line, format!("{}\n    {fault}", client.packet)))
}
