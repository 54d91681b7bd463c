//! One packet line: sends what it says until it is proved or refuted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::cluster::probe::{Answer, PATIENCE, SILENCE};
use crate::judge::sender::{Sender, said};
use crate::scenario::{Outcome, Packet, PacketCase, Source, Target};

/// How fast a refusal must be: the client did not wait for a timeout.
const PROMPT: Duration = Duration::from_millis(50);

/// Connections per target before one that was never chosen is believed missing: (1 - 1/k)^(40k) < 10^-17.
const TRIES_PER_TARGET: usize = 40;

/// Connections of a sticky client: one that chooses anew among two goes to one of them by chance once in 10^6 times.
const STICKY: usize = 20;

/// Clients of one line, from which on they are expected to differ.
const MANY: usize = 20;

/// How soon a UDP flow to an endpoint that left must be cut.
const CUT: Duration = Duration::from_secs(1);

/// How often a refusal that came late, or not at all, is asked for again: the kernel limits ICMP answers to one a
/// second after the first six, and a busy machine is no wrong rule.
const REFUSALS: usize = 3;

/// Where sticky clients were found last.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<Source, SocketAddr>>);

impl Memory {
    fn recall(&self, client: &Source) -> Option<SocketAddr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(client).copied()
    }

    /// Many clients that chose for themselves must not all have chosen the same. The chance of that is 2^-19 at most.
    pub(super) fn crowd(&self, cases: &[&PacketCase]) -> Result<(), String> {
        let free =
            |case: &&&PacketCase| matches!(&case.outcome, Outcome::Sticky(targets) if targets.len() > 1);
        let clients: Vec<_> =
            cases.iter().filter(free).map(|case| self.recall(&case.packet.source)).collect();
        match clients.first() {
            Some(Some(first)) if clients.len() >= MANY && clients.iter().all(|one| *one == Some(*first)) => {
                Err(format!("all {} clients went to {first}", clients.len()))
            }
            _ => Ok(()),
        }
    }

    fn note(&self, client: &Source, server: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(client.clone(), server);
    }
}

pub(super) fn judge(cluster: &Cluster, case: &PacketCase, memory: &Memory) -> Result<(), String> {
    let packet = &case.packet;
    let sender = Sender::find(cluster, packet).map_err(|error| crate::judge::chain(&error))?;
    match &case.outcome {
        _ if packet.port.is_some() => judge_flow(&sender, case),
        Outcome::Targets(targets) => judge_targets(&sender, packet, targets),
        Outcome::Sticky(targets) => judge_sticky(&sender, packet, targets, None, memory),
        Outcome::Kept(targets) => {
            // Whoever was where nobody is any more chooses anew.
            let last = memory.recall(&packet.source);
            let last = last.filter(|last| targets.iter().any(|target| target.address == *last));
            judge_sticky(&sender, packet, targets, last, memory)
        }
        Outcome::Local => {
            let mut sender = sender;
            // To an address of its own the node speaks from that very address.
            if matches!(packet.source, Source::Node(_)) {
                sender.address = packet.destination.ip();
            }
            judge_targets(&sender, packet, &[untouched(packet)])
        }
        Outcome::Pass => judge_targets(&sender, packet, &[untouched(packet)]),
        Outcome::Reject | Outcome::RefusedBy(_) => judge_reject(&sender, packet),
        Outcome::Drop => match sender.send(packet, SILENCE)? {
            Answer::Silence => Ok(()),
            answer => Err(said(&answer)),
        },
    }
}

fn untouched(packet: &Packet) -> Target {
    Target { address: packet.destination, masquerade: false }
}

/// Connects once; the target that it ended at, if it is one of these and saw the right client.
fn connect(sender: &Sender, packet: &Packet, targets: &[Target]) -> Result<Target, String> {
    let answer = sender.send(packet, PATIENCE)?;
    let Answer::Heard(heard) = answer else { return Err(said(&answer)) };
    let target = targets.iter().find(|target| target.address == heard.server);
    let target = target.ok_or_else(|| said(&answer))?;
    let own = std::slice::from_ref(&sender.address);
    let expected = if target.masquerade { sender.nodes.as_slice() } else { own };
    if expected.contains(&heard.client.ip()) {
        Ok(*target)
    } else {
        Err(format!("{} saw {} as its client, not {}", heard.server, heard.client.ip(), expected[0]))
    }
}

fn judge_targets(sender: &Sender, packet: &Packet, targets: &[Target]) -> Result<(), String> {
    let mut missing: BTreeSet<Target> = targets.iter().copied().collect();
    for _ in 0..targets.len() * TRIES_PER_TARGET {
        missing.remove(&connect(sender, packet, targets)?);
        if missing.is_empty() {
            return Ok(());
        }
    }
    let missing: Vec<String> = missing.iter().map(Target::to_string).collect();
    Err(format!("never chosen: {}", missing.join(", ")))
}

fn judge_sticky(
    sender: &Sender,
    packet: &Packet,
    targets: &[Target],
    last: Option<SocketAddr>,
    memory: &Memory,
) -> Result<(), String> {
    let mut same = last;
    for number in 1..=STICKY {
        let target = connect(sender, packet, targets)?;
        let known = *same.get_or_insert(target.address);
        if target.address != known {
            return Err(format!("connection {number} went to {}, after {known}", target.address));
        }
    }
    same.into_iter().for_each(|server| memory.note(&packet.source, server));
    Ok(())
}

fn judge_reject(sender: &Sender, packet: &Packet) -> Result<(), String> {
    let mut last = String::new();
    for attempt in 0..REFUSALS {
        if attempt > 0 {
            thread::sleep(Duration::from_millis(1100));
        }
        match sender.send(packet, SILENCE)? {
            Answer::Refused(after) if after <= PROMPT => return Ok(()),
            Answer::Refused(after) => last = format!("rejected only after {after:?}"),
            Answer::Silence => last = "drop (silence)".to_owned(),
            answer => return Err(said(&answer)),
        }
    }
    Err(last)
}

/// A flow that goes on may end where it went before for as long as [`CUT`], then never again.
fn judge_flow(sender: &Sender, case: &PacketCase) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let answer = sender.send(&case.packet, SILENCE)?;
        let right = match (&case.outcome, &answer) {
            (Outcome::Reject, Answer::Refused(_)) | (Outcome::Drop, Answer::Silence) => true,
            (outcome, Answer::Heard(heard)) => {
                outcome.targets().iter().any(|target| target.address == heard.server)
            }
            _ => false,
        };
        if right {
            return Ok(());
        }
        if begun.elapsed() > CUT {
            return Err(format!("{}, {CUT:?} after the change", said(&answer)));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
