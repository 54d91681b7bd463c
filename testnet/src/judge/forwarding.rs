//! Judge of the stage `forwarding`: each node's table, its text and what it says of packets. No kernel is asked.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::forwarding_table::{self as table, ForwardingTable, Packet, Pods};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use services::{Changes, Snapshot};

use super::explanation::contradictions;
use super::feed::Known;
use super::{Feed, Report, Verdict};
use crate::scenario::{DetectLocal, Facts, NodeFacts, Outcome, PacketCase, Scenario, Source, Stage, Target};

/// Addresses that no packet comes from: it is known of both families that nobody there is a pod.
const NOBODY: [IpNet; 2] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::BROADCAST, 32)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128)),
];

/// The forwarding tables of all nodes, kept by the same updates that an agent would make.
#[derive(Debug)]
pub struct Tables {
    facts: Facts,
    tables: Vec<ForwardingTable>,
}

impl Tables {
    /// Tables made at once from all that is known.
    #[must_use]
    pub fn build(facts: &Facts, known: &Known) -> Self {
        let build = |node| ForwardingTable::build(known.node_facts(node), &known.snapshot);
        Self { facts: facts.clone(), tables: facts.nodes.iter().map(build).collect() }
    }

    /// Takes over what changed.
    pub fn update(&mut self, known: &Known, changes: &Changes) {
        for (table, node) in self.tables.iter_mut().zip(&self.facts.nodes) {
            table.set_facts(known.node_facts(node), &known.snapshot);
            table.update(&known.snapshot, changes);
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

    /// What becomes of it on the first node that does anything to it.
    fn judge(&self, case: &PacketCase) -> Option<Outcome> {
        let mut outcome = None;
        for node in case.packet.nodes(&self.facts) {
            outcome = self.judge_on(node, case);
            if outcome != Some(Outcome::Pass) {
                break;
            }
        }
        outcome
    }

    /// The table with pods known by their addresses where a node knows them by interfaces, which a packet line does not
    /// name. In the test bed those of a node's pods begin with `pod`, and no node has a bridge.
    fn by_address<'a>(&self, table: &'a ForwardingTable, node: &NodeFacts) -> Cow<'a, ForwardingTable> {
        let known: &[IpNet] = match &self.facts.detect_local {
            DetectLocal::InterfaceNamePrefix(prefix) if "pod".starts_with(prefix.as_str()) => &node.pod_cidrs,
            DetectLocal::InterfaceNamePrefix(_) | DetectLocal::BridgeInterface(_) => &NOBODY,
            DetectLocal::Unknown | DetectLocal::ClusterCidr | DetectLocal::NodeCidr => {
                return Cow::Borrowed(table);
            }
        };
        let facts = table.facts().clone().recognising(Pods::Cidrs(known.iter().copied().collect()));
        let mut table = table.clone();
        table.set_facts(facts, &Snapshot::default());
        Cow::Owned(table)
    }

    fn judge_on(&self, node: &NodeFacts, case: &PacketCase) -> Option<Outcome> {
        let to = case.packet.destination;
        let own = case.packet.source.node(&self.facts)?;
        let source = match &case.packet.source {
            Source::Pod(address) | Source::Outside { address, .. } => *address,
            // A process of the node speaks to an address of the node's own from that very address.
            Source::Node(_) if own.addresses.contains(&to.ip()) => to.ip(),
            Source::Node(_) => own.address_to(to.ip())?,
        };
        let table = &self.by_address(self.of(&node.name)?, node);
        let packet = Packet::new(source, case.packet.probe.protocol(), to);
        Some(match table.judge(&packet) {
            table::Outcome::Reject => Outcome::Reject,
            table::Outcome::Drop => Outcome::Drop,
            table::Outcome::Local => Outcome::Local,
            table::Outcome::Pass => Outcome::Pass,
            table::Outcome::Forward(endpoints) => {
                let frontend = table.frontend(&packet.destination)?;
                let target = |address: &std::net::SocketAddr| Target {
                    address: *address,
                    masquerade: table.masquerades(source, &packet.destination, address.ip()),
                };
                let targets: Vec<Target> = endpoints.iter().map(target).collect();
                match (&case.outcome, frontend.affinity) {
                    (Outcome::Kept(_), Some(_)) => Outcome::Kept(targets),
                    (Outcome::RefusedBy(_), None) if targets.len() == 1 => Outcome::RefusedBy(targets[0]),
                    (_, Some(_)) => Outcome::Sticky(targets),
                    (_, None) => Outcome::Targets(targets),
                }
            }
        })
    }
}

/// Plays the steps into the tables; compares their text and their judgement of every packet line.
#[must_use]
pub fn forwarding(scenario: &Scenario) -> Verdict {
    let mut feed = Feed::new(&scenario.facts);
    let mut tables = Tables::build(&scenario.facts, &feed.known());
    let mut report = Report::default();
    for step in &scenario.steps {
        step.events.iter().for_each(|event| feed.play(event));
        let changes = feed.model.take_changes();
        let known = feed.known();
        tables.update(&known, &changes);
        for wrong in tables.tables.iter().flat_map(|table| contradictions(table, &known.snapshot)) {
            report.fail(&scenario.file, step.line, format!("an explanation contradicts the table: {wrong}"));
        }
        for dump in step.dumps.iter().filter(|dump| dump.stage == Stage::Forwarding) {
            report.compare(&scenario.file, dump, &tables.text(&dump.node));
        }
        // The table knows first packets only: neither late ones nor flows that go on.
        let first = |case: &&PacketCase| case.packet.probe.is_first() && case.packet.port.is_none();
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
