//! Judge of the stage `packets`: nodes and pods as namespaces, the kernel's own rules, real connections.
//!
//! Every endpoint that any step knows has a real server from the start, ready or not, so that a packet which goes to
//! the wrong one is heard. The planes live through all steps, so each step tests a change and not a fresh load.

mod line;
mod listeners;

use std::collections::BTreeMap;
use std::thread;

use dataplane::forwarding_table::ForwardingTable;

use super::load;
use super::plane::{self, Plane};
use super::{Feed, Known, Report, Verdict};
use crate::cluster::Cluster;
use crate::scenario::{PacketCase, Scenario, Source, Step};
use line::Memory;

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
    listeners::open(&cluster, scenario)?;
    let mut feed = Feed::new(&scenario.facts);
    let mut planes = plane::open_all(&cluster, &feed.known())?;
    let memory = Memory::default();
    let mut previous: Option<&Step> = None;
    for step in &scenario.steps {
        if step.restart {
            planes = replace(planes, &cluster, &feed.known())?;
        }
        thread::sleep(step.pause);
        let mut faults = change(&cluster, &mut planes, &mut feed, step, previous)?;
        faults.extend(judge_all(&cluster, &step.packets, &memory));
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

/// Another process takes over on every node, when the one before is gone.
fn replace(planes: Vec<Plane>, cluster: &Cluster, known: &Known) -> Result<Vec<Plane>, plane::Error> {
    drop(planes);
    let adopt = |node: &crate::cluster::Node| {
        let table = ForwardingTable::build(known.node_facts(node.facts()), &known.snapshot);
        Plane::adopt(node.namespace(), table)
    };
    cluster.nodes().iter().map(|node| adopt(node).map(|(plane, _)| plane)).collect()
}

/// Makes the step's change, and takes it back and makes it again for as long as there are clients that must not notice.
fn change(
    cluster: &Cluster,
    planes: &mut [Plane],
    feed: &mut Feed,
    step: &Step,
    previous: Option<&Step>,
) -> Result<Vec<(usize, String)>, plane::Error> {
    let before = feed.known();
    step.events.iter().for_each(|event| feed.play(event));
    let (after, changes) = (feed.known(), feed.model.take_changes());
    let mut sync = |known| planes.iter_mut().try_for_each(|plane| plane.sync(known, &changes));
    let mut faults = Vec::new();
    if !step.events.is_empty() {
        let steady = previous.map(|previous| load::steady(previous, step)).unwrap_or_default();
        faults = load::under_load(cluster, &steady, || sync(&after).and_then(|()| sync(&before)))?;
    }
    sync(&after)?;
    Ok(faults)
}

/// Sends all packets of a step at once, but those of one sticky client one after the other; returns what is not as it
/// should be, by line.
fn judge_all(cluster: &Cluster, cases: &[PacketCase], memory: &Memory) -> Vec<(usize, String)> {
    let (sticky, free): (Vec<_>, Vec<_>) = cases.iter().partition(|case| case.outcome.is_sticky());
    let mut clients: BTreeMap<&Source, Vec<&PacketCase>> = BTreeMap::new();
    for case in sticky {
        clients.entry(&case.packet.source).or_default().push(case);
    }
    let groups = clients.into_values().chain(free.into_iter().map(|case| vec![case]));
    thread::scope(|scope| {
        let judge = |case| fault(case, line::judge(cluster, case, memory));
        let threads: Vec<_> = groups
            .map(|group| scope.spawn(move || group.into_iter().filter_map(judge).collect::<Vec<_>>()))
            .collect();
        let panicked = |_| vec![(1, "a probe panicked".to_owned())];
        let joined = threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(panicked));
        let mut faults: Vec<_> = joined.collect();
        faults.extend(crowds(cases, memory));
        faults
    })
}

/// Lines whose clients all went to one target, though each chose for itself.
fn crowds(cases: &[PacketCase], memory: &Memory) -> Vec<(usize, String)> {
    let mut lines: BTreeMap<usize, Vec<&PacketCase>> = BTreeMap::new();
    cases.iter().for_each(|case| lines.entry(case.line).or_default().push(case));
    let fault = |(line, cases): (usize, Vec<&PacketCase>)| Some((line, memory.crowd(&cases).err()?));
    lines.into_iter().filter_map(fault).collect()
}

fn fault(case: &PacketCase, judged: Result<(), String>) -> Option<(usize, String)> {
    let fault = judged.err()?;
    Some((case.line, format!("{case}\n    on the wire: {fault}")))
}
