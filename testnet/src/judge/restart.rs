//! Judge of restarts: before each step the plane is another process's, and it must go on from what the kernel holds.
//!
//! The new plane adopts the table without a change, and the step then reaches it like any other.

use dataplane::forwarding_table::ForwardingTable;

use super::plane::{Error, Plane};
use super::{Feed, Report, Verdict};
use crate::cluster::Namespace;
use crate::scenario::Scenario;

/// Plays the steps, each into a new plane on the kernel of the one before.
#[must_use]
pub fn restart(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    if let Err(error) = play(scenario, &mut report) {
        report.fail(&scenario.file, 1, super::chain(&error));
    }
    Verdict::Judged(report)
}

fn play(scenario: &Scenario, report: &mut Report) -> Result<(), Error> {
    let node = &scenario.facts.nodes[0];
    let namespace = Namespace::create(&node.name)?;
    let mut feed = Feed::new(&scenario.facts);
    let mut plane: Option<Plane> = None;
    for step in &scenario.steps {
        let known = feed.known();
        let table = ForwardingTable::build(known.node_facts(node), &known.snapshot);
        let first = plane.take().is_none();
        let (mut next, changed) = Plane::adopt(&namespace, table)?;
        if changed > 0 && !first {
            let fault = format!("a restart before this step changed {changed} elements of the kernel's");
            report.fail(&scenario.file, step.line, fault);
        }
        step.events.iter().for_each(|event| feed.play(event));
        next.sync(&feed.known(), &feed.model.take_changes())?;
        let (expected, shown) = (next.table().to_string(), next.dump()?);
        if shown != expected {
            let fault = format!("after a restart the kernel holds\n{shown}and not\n{expected}");
            report.fail(&scenario.file, step.line, fault);
        }
        plane = Some(next);
    }
    Ok(())
}
