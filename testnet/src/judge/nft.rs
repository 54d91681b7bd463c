//! Judge of the stage `nft`: what the kernel holds after each step, read back by the product and listed by `nft`.
//!
//! No packet is sent, so each node is only a namespace. Both texts of a node, the table's and the kernel's, must agree
//! even where a scenario says nothing.

use std::process::Command;

use dataplane::forwarding_table::ForwardingTable;

use super::forwarding::node_facts;
use super::plane::{Error, Plane};
use super::{Feed, Report, Verdict};
use crate::cluster::Namespace;
use crate::scenario::{Scenario, Stage};

/// Plays the steps into a kernel.
#[must_use]
pub fn nft(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    if let Err(error) = play(scenario, &mut report) {
        report.fail(&scenario.file, 1, super::chain(&error));
    }
    Verdict::Judged(report)
}

fn play(scenario: &Scenario, report: &mut Report) -> Result<(), Error> {
    let mut feed = Feed::new(&scenario.facts);
    let mut planes = Vec::new();
    for node in &scenario.facts.nodes {
        let namespace = Namespace::create(&node.name)?;
        planes.push(Plane::open(&namespace, ForwardingTable::new(node_facts(&scenario.facts, node)))?);
    }
    for step in &scenario.steps {
        step.events.iter().for_each(|event| feed.play(event));
        let changes = feed.model.take_changes();
        for plane in &mut planes {
            plane.sync(&feed.model.snapshot(), &changes)?;
            let shown = plane.dump()?;
            let node = plane.table().facts().name.clone();
            for dump in step.dumps.iter().filter(|dump| dump.stage == Stage::Nft && *dump.node == *node) {
                report.compare(&scenario.file, dump, &shown);
            }
            if let Some(fault) = listing_fault(plane)? {
                report.fail(&scenario.file, step.line, format!("`nft list ruleset` on {node}: {fault}"));
            }
        }
    }
    Ok(())
}

/// Runs `nft list ruleset`, where there is an `nft`: it must print our table and not abort. Debian 12's does on rules
/// that it does not understand, for the whole host.
fn listing_fault(plane: &Plane) -> Result<Option<String>, Error> {
    let listed = plane.namespace().run(|| Command::new("nft").args(["list", "ruleset"]).output())?;
    let Ok(output) = listed else { return Ok(None) };
    if !output.status.success() {
        return Ok(Some(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())));
    }
    let table = format!("table ip {}", dataplane::nftables::TABLE);
    let shown = String::from_utf8_lossy(&output.stdout).contains(&table);
    Ok((!shown).then(|| format!("shows no `{table}`")))
}
