//! Judge of faults: the kernel refuses, forgets to answer or cannot be read, at random, and each node's rules must
//! still end at what the table says, with nothing left to repair.

use dataplane::forwarding_table::ForwardingTable;
use dataplane::{Call, Faults};

use super::order::{interleave, seeds};
use super::plane::{Error, Plane};
use super::{Feed, Order, Report, Verdict};
use crate::cluster::Namespace;
use crate::scenario::Scenario;

/// How many orders, each with faults of its own, are tried of each scenario: a plane that fails waits before it tries
/// again, and every process has other seeds.
const RUNS: u64 = 1;

/// One call in so many fails.
const ONE_IN: usize = 4;

/// Fails one call in [`ONE_IN`].
#[derive(Debug)]
struct Dice(Order);

impl Faults for Dice {
    fn strike(&mut self, call: Call) -> Option<i32> {
        let errno = match call {
            Call::Send => libc::ENOMEM,
            Call::Verdict => libc::ENOBUFS,
            Call::Dump => libc::EINTR,
        };
        (self.0.below(ONE_IN) == 0).then_some(errno)
    }
}

/// Plays random orders of the scenario's events into planes whose kernel fails. `SCENARIO_SEED=N` repeats one.
#[must_use]
pub fn faults(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    for seed in seeds(RUNS) {
        if let Err(error) = play(scenario, seed, &mut report) {
            report.fail(&scenario.file, 1, format!("SCENARIO_SEED={seed}: {}", super::chain(&error)));
        }
    }
    Verdict::Judged(report)
}

fn play(scenario: &Scenario, seed: u64, report: &mut Report) -> Result<(), Error> {
    let facts = &scenario.facts;
    let node = &facts.nodes[0];
    let mut order = Order::seeded(seed);
    let mut feed = Feed::new(facts);
    let table = ForwardingTable::new(feed.known().node_facts(node));
    let mut plane = Plane::open(&Namespace::create(&node.name)?, table)?;
    plane.set_faults(Some(Box::new(Dice(Order::seeded(seed)))));
    for event in interleave(scenario.steps.iter().flat_map(|step| &step.events), &mut order) {
        feed.play(event);
        let changes = feed.model.take_changes();
        // What a sync could not do, the next one must.
        let _ = plane.sync(&feed.known(), &changes);
    }
    plane.set_faults(None);
    plane.sync(&feed.known(), &feed.model.take_changes())?;
    let (expected, shown) = (plane.table().to_string(), plane.dump()?);
    if shown != expected {
        let fault =
            format!("SCENARIO_SEED={seed}: after faults the kernel holds\n{shown}and not\n{expected}");
        report.fail(&scenario.file, scenario.steps[0].line, fault);
    }
    let repaired = plane.verify()?;
    if repaired > 0 {
        let fault =
            format!("SCENARIO_SEED={seed}: a later comparison still found {repaired} elements to repair");
        report.fail(&scenario.file, scenario.steps[0].line, fault);
    }
    Ok(())
}
