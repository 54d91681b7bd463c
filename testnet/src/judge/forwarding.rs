//! Judge of the stage `forwarding`: each node's table, its text and what it says of packets. No kernel is asked.

use std::net::IpAddr;

use dataplane::forwarding_table::{self as table, ForwardingTable, Packet};
use services::{Changes, Snapshot};

use super::{Feed, Report, Verdict};
use crate::scenario::{Facts, NodeFacts, Outcome, PacketCase, Probe, Scenario, Source, Stage, Target};

/// The forwarding tables of all nodes, kept by the same updates that an agent would make.
#[derive(Debug)]
pub struct Tables {
    facts: Facts,
    tables: Vec<ForwardingTable>,
}

impl Tables {
    /// Empty tables.
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        let tables = facts.nodes.iter().map(|node| ForwardingTable::new(node_facts(facts, node))).collect();
        Self { facts: facts.clone(), tables }
    }

    /// Tables made from a snapshot at once.
    #[must_use]
    pub fn build(facts: &Facts, snapshot: &Snapshot) -> Self {
        let build = |node| ForwardingTable::build(node_facts(facts, node), snapshot);
        Self { facts: facts.clone(), tables: facts.nodes.iter().map(build).collect() }
    }

    /// Takes over what changed.
    pub fn update(&mut self, snapshot: &Snapshot, changes: &Changes) {
        for table in &mut self.tables {
            table.update(snapshot, changes);
        }
    }

    /// The text of one node's table.
    #[must_use]
    pub fn text(&self, node: &str) -> String {
        self.of(node).map(ToString::to_string).unwrap_or_default()
    }

    fn of(&self, node: &str) -> Option<&ForwardingTable> {
        let index = self.facts.nodes.iter().position(|facts| facts.name == node)?;
        self.tables.get(index)
    }

    /// What the sender's node does with the packet.
    fn judge(&self, case: &PacketCase) -> Option<Outcome> {
        let (node, source) = match &case.packet.source {
            Source::Pod(address) => (self.facts.node_of(IpAddr::V4(*address))?, *address),
            Source::Node(name) => (self.facts.node(name)?, self.facts.node(name)?.address),
        };
        let (source, destination) = (IpAddr::V4(source), case.packet.destination);
        let table = self.of(&node.name)?;
        let packet = Packet::new(source, case.packet.probe.protocol(), destination.into());
        let untouched = Target { address: destination, masquerade: false };
        Some(match table.judge(&packet) {
            table::Outcome::Reject => Outcome::Reject,
            table::Outcome::Drop => Outcome::Drop,
            table::Outcome::Local => Outcome::Local,
            table::Outcome::Pass => Outcome::Targets(vec![untouched]),
            table::Outcome::Forward(endpoints) => {
                let v4 = endpoints.iter().filter_map(|endpoint| match endpoint {
                    std::net::SocketAddr::V4(address) => Some(*address),
                    std::net::SocketAddr::V6(_) => None,
                });
                let target = |address: std::net::SocketAddrV4| {
                    let masquerade =
                        table.masquerades(source, &packet.destination, IpAddr::V4(*address.ip()));
                    Target { address, masquerade }
                };
                Outcome::Targets(v4.map(target).collect())
            }
        })
    }
}

/// The node as the data plane knows it.
#[must_use]
pub fn node_facts(facts: &Facts, node: &NodeFacts) -> table::NodeFacts {
    let known = table::NodeFacts::new(node.name.as_str(), [facts.service_cidr.into()]);
    match &facts.dns {
        Some((address, nodes)) if nodes.contains(&node.name) => known.answering_dns(IpAddr::V4(*address)),
        _ => known,
    }
}

/// Plays the steps into the tables; compares their text and their judgement of every packet line.
#[must_use]
pub fn forwarding(scenario: &Scenario) -> Verdict {
    let mut feed = Feed::new(&scenario.facts);
    let mut tables = Tables::new(&scenario.facts);
    let mut report = Report::default();
    for step in &scenario.steps {
        step.events.iter().for_each(|event| feed.play(event));
        let changes = feed.model.take_changes();
        tables.update(&feed.model.snapshot(), &changes);
        for dump in step.dumps.iter().filter(|dump| dump.stage == Stage::Forwarding) {
            report.compare(&scenario.file, dump, &tables.text(&dump.node));
        }
        // The table knows first packets only: neither late resets nor flows that go on.
        let first = |case: &&PacketCase| case.packet.probe != Probe::LateReset && case.packet.port.is_none();
        for case in step.packets.iter().filter(first) {
            judge_packet(scenario, &tables, case, &mut report);
        }
    }
    Verdict::Judged(report)
}

fn judge_packet(scenario: &Scenario, tables: &Tables, case: &PacketCase, report: &mut Report) {
    let outcome = tables.judge(case);
    if outcome.as_ref() != Some(&case.outcome) {
        let said =
            outcome.map_or_else(|| "a node that is not there".to_owned(), |outcome| outcome.to_string());
        report.fail(&scenario.file, case.line, format!("{case}\n    the forwarding table says: {said}"));
    }
}
