//! Judge of the stage `packets`: nodes and pods as namespaces, the kernel's own rules, real connections.
//!
//! Every endpoint that any step knows has a real server from the start, ready or not, so that a packet which goes to
//! the wrong one is heard. The planes live through all steps, so each step tests a change and not a fresh load.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

use services::Protocol;

use super::load;
use super::plane::{self, Plane};
use super::sender::{Sender, node_of, said};
use super::{Feed, Report, Verdict};
use crate::cluster::Cluster;
use crate::cluster::probe::{Answer, PATIENCE, SILENCE};
use crate::scenario::{Event, Object, Outcome, Packet, PacketCase, Scenario, Source, Step, Target};

/// How fast a refusal must be: the client did not wait for a timeout.
const PROMPT: Duration = Duration::from_millis(50);

/// Connections per target before one that was never chosen is believed missing: (1 - 1/k)^(40k) < 10^-17.
const TRIES_PER_TARGET: usize = 40;

/// How soon a UDP flow to an endpoint that left must be cut.
const CUT: Duration = Duration::from_secs(1);

/// How often a refusal that came late, or not at all, is asked for again: the kernel limits ICMP answers to one a
/// second after the first six, and a busy machine is no wrong rule.
const REFUSALS: usize = 3;

/// Plays the steps into real planes, and sends every packet.
#[must_use]
pub fn packets(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    if let Err(error) = play(scenario, &mut report) {
        report.fail(&scenario.file, 1, super::chain(&error));
    }
    Verdict::Judged(report)
}

fn play(scenario: &Scenario, report: &mut Report) -> Result<(), plane::Error> {
    let cluster = Cluster::start(&scenario.facts)?;
    for (protocol, address) in listeners(scenario) {
        cluster.listen(protocol, address)?;
    }
    for case in scenario.steps.iter().flat_map(|step| &step.packets) {
        if case.outcome == Outcome::Local {
            node_of(&cluster, &case.packet.source)?
                .listen(case.packet.probe.protocol(), case.packet.destination)?;
        }
    }
    let mut feed = Feed::new(&scenario.facts);
    let mut planes = plane::open_all(&cluster, &scenario.facts)?;
    let mut previous: Option<&Step> = None;
    for step in &scenario.steps {
        let before = feed.model.snapshot();
        step.events.iter().for_each(|event| feed.play(event));
        let (after, changes) = (feed.model.snapshot(), feed.model.take_changes());
        let steady = previous.map(|previous| load::steady(previous, step)).unwrap_or_default();
        let sync = |planes: &mut Vec<Plane>, snapshot| {
            planes.iter_mut().try_for_each(|plane| plane.sync(snapshot, &changes))
        };
        let mut faults = load::under_load(&cluster, &steady, || {
            sync(&mut planes, &after)?;
            sync(&mut planes, &before)
        })?;
        sync(&mut planes, &after)?;
        faults.extend(judge_all(&cluster, &step.packets));
        for (line, fault) in faults {
            report.fail(&scenario.file, line, fault);
        }
        for leak in cluster.take_leaks() {
            let fault = format!("seen on the wire, though no service address may be: {leak}");
            report.fail(&scenario.file, step.line, fault);
        }
        previous = Some(step);
    }
    Ok(())
}

/// Sends all packets of a step at once; returns what is not as it should be, by line.
fn judge_all(cluster: &Cluster, cases: &[PacketCase]) -> Vec<(usize, String)> {
    thread::scope(|scope| {
        let threads: Vec<_> = cases.iter().map(|case| scope.spawn(|| judge(cluster, case))).collect();
        let judged = threads.into_iter().zip(cases).map(|(thread, case)| (case, thread.join()));
        judged.filter_map(|(case, joined)| fault(case, joined)).collect()
    })
}

fn fault(case: &PacketCase, joined: thread::Result<Result<(), String>>) -> Option<(usize, String)> {
    let fault = joined.unwrap_or_else(|_| Err("the probe panicked".to_owned())).err()?;
    Some((case.line, format!("{case}\n    on the wire: {fault}")))
}

/// What the scenario's endpoints and targets listen on, and the nodes' own answers.
fn listeners(scenario: &Scenario) -> BTreeSet<(Protocol, SocketAddrV4)> {
    let facts = &scenario.facts;
    let mut listeners = BTreeSet::new();
    for step in &scenario.steps {
        for event in &step.events {
            if let Event::Apply(_, Object::EndpointSlice(slice)) = event {
                listeners.extend(endpoints(slice));
            }
        }
        for case in &step.packets {
            if let Outcome::Targets(targets) = &case.outcome {
                listeners.extend(targets.iter().map(|target| (case.packet.probe.protocol(), target.address)));
            }
        }
    }
    listeners.retain(|(_, address)| facts.node_of(IpAddr::V4(*address.ip())).is_some());
    listeners
}

fn endpoints(slice: &k8s_openapi::api::discovery::v1::EndpointSlice) -> Vec<(Protocol, SocketAddrV4)> {
    let addresses = slice.endpoints.iter().flatten().flat_map(|endpoint| &endpoint.addresses);
    let addresses: Vec<Ipv4Addr> = addresses.filter_map(|address| address.parse().ok()).collect();
    let mut listeners = Vec::new();
    for port in slice.ports.iter().flatten() {
        let protocol = Protocol::parse(port.protocol.as_deref().unwrap_or("TCP"));
        let number = port.port.and_then(|number| u16::try_from(number).ok());
        if let (Some(protocol @ (Protocol::Tcp | Protocol::Udp)), Some(number)) = (protocol, number) {
            listeners.extend(addresses.iter().map(|address| (protocol, SocketAddrV4::new(*address, number))));
        }
    }
    listeners
}

/// Sends what the line says until it is proved or refuted.
fn judge(cluster: &Cluster, case: &PacketCase) -> Result<(), String> {
    let mut sender = Sender::find(cluster, &case.packet.source).map_err(|error| super::chain(&error))?;
    match &case.outcome {
        _ if case.packet.port.is_some() => judge_flow(&sender, case),
        Outcome::Targets(targets) => judge_targets(&sender, &case.packet, targets),
        Outcome::Local => {
            let own = Target { address: case.packet.destination, masquerade: false };
            // To an address of its own the node speaks from that very address.
            let own_process = matches!(case.packet.source, Source::Node(_));
            if own_process {
                sender.address = *own.address.ip();
            }
            judge_targets(&sender, &case.packet, &[own])
        }
        Outcome::Reject => judge_reject(&sender, &case.packet),
        Outcome::Drop => match sender.send(&case.packet, SILENCE)? {
            Answer::Silence => Ok(()),
            answer => Err(said(&answer)),
        },
    }
}

fn judge_targets(sender: &Sender, packet: &Packet, targets: &[Target]) -> Result<(), String> {
    let mut missing: BTreeSet<Target> = targets.iter().copied().collect();
    for _ in 0..targets.len() * TRIES_PER_TARGET {
        let answer = sender.send(packet, PATIENCE)?;
        let Answer::Heard(heard) = answer else { return Err(said(&answer)) };
        let Some(target) = targets.iter().find(|target| target.address == heard.server) else {
            return Err(said(&answer));
        };
        let expected = if target.masquerade { sender.node } else { sender.address };
        if *heard.client.ip() != expected {
            return Err(format!("{} saw {} as its client, not {expected}", heard.server, heard.client.ip()));
        }
        missing.remove(target);
        if missing.is_empty() {
            return Ok(());
        }
    }
    let missing: Vec<String> = missing.iter().map(Target::to_string).collect();
    Err(format!("never chosen: {}", missing.join(", ")))
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
            (Outcome::Targets(targets), Answer::Heard(heard)) => {
                targets.iter().any(|target| target.address == heard.server)
            }
            (Outcome::Reject, Answer::Refused(_)) | (Outcome::Drop, Answer::Silence) => true,
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
