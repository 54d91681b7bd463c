//! Clients that go on connecting while a change is made: as long as there is an endpoint before and after, no
//! connection may fail, and none may end elsewhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::sender::{Sender, said};
use crate::cluster::probe::{Answer, PATIENCE};
use crate::cluster::{Cluster, Error};
use crate::scenario::{Outcome, Packet, PacketCase, Probe, Step, Target};

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

/// Makes the change while the clients connect; returns its result or the faults of connections, by line.
pub(super) fn under_load<T>(
    cluster: &Cluster,
    clients: &[Client],
    change: impl FnOnce() -> Result<(), T>,
) -> Result<Result<Vec<(usize, String)>, T>, Error> {
    let senders = clients.iter().map(|client| Ok((client, Sender::find(cluster, &client.packet.source)?)));
    let senders: Vec<(&Client, Sender)> = senders.collect::<Result<_, Error>>()?;
    let over = AtomicBool::new(false);
    Ok(thread::scope(|scope| {
        let over = &over;
        let start = |(client, sender)| scope.spawn(move || go_on(client, sender, over));
        let threads: Vec<_> = senders.iter().map(|(client, sender)| start((*client, sender))).collect();
        let changed = change();
        over.store(true, Ordering::Release);
        let faults = threads.into_iter().filter_map(|thread| thread.join().ok().flatten()).collect();
        changed.map(|()| faults)
    }))
}

fn go_on(client: &Client, sender: &Sender, over: &AtomicBool) -> Option<(usize, String)> {
    let mut connections = 0_u32;
    while !over.load(Ordering::Acquire) || connections == 0 {
        connections += 1;
        let fault = match sender.send(&client.packet, PATIENCE) {
            Ok(Answer::Heard(heard))
                if client.targets.iter().any(|target| target.address == heard.server) =>
            {
                continue;
            }
            Ok(answer) => said(&answer),
            Err(error) => error,
        };
        let packet = &client.packet;
        return Some((client.line, format!("{packet}: connection {connections} during the change: {fault}")));
    }
    None
}
