//! Judges of what the kernel holds after each step: `nft`, read back by the product, and `listing`, printed by the
//! `nft` program.
//!
//! No packet is sent, so each node is only a namespace.

use std::process::Command;

use dataplane::forwarding_table::ForwardingTable;

use super::plane::{Error, Plane};
use super::{Feed, Report, Verdict};
use crate::cluster::Namespace;
use crate::scenario::{Scenario, Stage, Step};

/// Compares the text of the kernel's state.
#[must_use]
pub fn nft(scenario: &Scenario) -> Verdict {
    judged(scenario, |step, plane, report| {
        let shown = plane.dump()?;
        let node = &plane.table().facts().name;
        for dump in step.dumps.iter().filter(|dump| dump.stage == Stage::Nft && *dump.node == **node) {
            report.compare(&scenario.file, dump, &shown);
        }
        Ok(())
    })
}

/// Lists the ruleset with `nft`.
#[must_use]
pub fn listing(scenario: &Scenario) -> Verdict {
    if let Err(error) = Command::new("nft").arg("--version").output() {
        return Verdict::Skipped(format!("no nft program to list rules with: {error}"));
    }
    judged(scenario, |step, plane, report| {
        if let Some(fault) = listing_fault(plane)? {
            let node = &plane.table().facts().name;
            report.fail(&scenario.file, step.line, format!("`nft list ruleset` on {node}: {fault}"));
        }
        Ok(())
    })
}

/// Looks at a plane after a step.
type Look<'a> = &'a mut dyn FnMut(&Step, &Plane, &mut Report) -> Result<(), Error>;

fn judged(
    scenario: &Scenario,
    mut look: impl FnMut(&Step, &Plane, &mut Report) -> Result<(), Error>,
) -> Verdict {
    let mut report = Report::default();
    if let Err(error) = play(scenario, &mut report, &mut look) {
        report.fail(&scenario.file, 1, super::chain(&error));
    }
    Verdict::Judged(report)
}

fn play(scenario: &Scenario, report: &mut Report, look: Look<'_>) -> Result<(), Error> {
    let mut feed = Feed::new(&scenario.facts);
    let mut planes = Vec::new();
    for node in &scenario.facts.nodes {
        let namespace = Namespace::create(&node.name)?;
        planes.push(Plane::open(&namespace, ForwardingTable::new(feed.known().node_facts(node)))?);
    }
    for step in &scenario.steps {
        step.events.iter().for_each(|event| feed.play(event));
        let changes = feed.model.take_changes();
        for plane in &mut planes {
            plane.sync(&feed.known(), &changes)?;
            look(step, plane, report)?;
        }
    }
    Ok(())
}

/// `nft list ruleset` must print our table and not abort: Debian 12's does on rules that it does not understand, and
/// then nobody on the host can list anything.
fn listing_fault(plane: &Plane) -> Result<Option<String>, Error> {
    let listed = plane.namespace().run(|| Command::new("nft").args(["list", "ruleset"]).output())?;
    Ok(match listed {
        Err(error) => Some(error.to_string()),
        Ok(output) if !output.status.success() => {
            Some(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()))
        }
        Ok(output) => {
            let listed = String::from_utf8_lossy(&output.stdout);
            let missing = tables(plane).into_iter().find(|table| !listed.contains(table));
            missing.map(|table| format!("shows no `{table}`"))
        }
    })
}

/// Our table in each family that has services.
fn tables(plane: &Plane) -> Vec<String> {
    let has = |ipv4| plane.table().facts().service_cidrs.iter().any(|cidr| cidr.addr().is_ipv4() == ipv4);
    let families = [("ip", true), ("ip6", false)].into_iter().filter(|(_, ipv4)| has(*ipv4));
    families.map(|(family, _)| format!("table {family} {} ", dataplane::nftables::TABLE)).collect()
}
