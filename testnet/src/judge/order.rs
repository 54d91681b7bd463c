//! Judge of orders: the same events in another order must lead to the same state of every stage.
//!
//! A watch keeps the order of one object's events and promises nothing else, so all of a scenario's events are mixed
//! across its steps, object by object in order, and reach the stages in batches of random size.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ::dns::zone::Zone;

use super::forwarding::Tables;
use super::{Feed, Report, Verdict};
use crate::scenario::{Event, Key, Scenario};

/// How many orders are tried of each scenario.
const ORDERS: u64 = 50;

/// A small generator (SplitMix64) whose seed makes a run repeatable.
#[derive(Clone, Debug)]
pub struct Order(u64);

impl Order {
    /// The generator of this seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `limit`, which must not be 0. The bias of the remainder does not matter here.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % limit as u64).unwrap_or(0)
    }
}

/// The events in another order, each object's own order kept.
pub fn interleave<'a>(events: impl Iterator<Item = &'a Event>, order: &mut Order) -> Vec<&'a Event> {
    let mut keys: Vec<&Key> = Vec::new();
    let mut queues: HashMap<&Key, VecDeque<&Event>> = HashMap::new();
    for event in events {
        let queue = queues.entry(event.key()).or_default();
        if queue.is_empty() {
            keys.push(event.key());
        }
        queue.push_back(event);
    }
    let mut mixed = Vec::new();
    while !keys.is_empty() {
        let index = order.below(keys.len());
        let queue = queues.get_mut(keys[index]).map(|queue| (queue.pop_front(), queue.is_empty()));
        if let Some((event, empty)) = queue {
            mixed.extend(event);
            if empty {
                keys.swap_remove(index);
            }
        }
    }
    mixed
}

/// Seeds for so many runs, others in each process, or the one that `SCENARIO_SEED` says.
pub(super) fn seeds(runs: u64) -> std::ops::Range<u64> {
    let wanted = std::env::var("SCENARIO_SEED").ok().and_then(|seed| seed.parse().ok());
    let first = wanted.unwrap_or_else(|| u64::from(std::process::id()) << 32);
    first..first + if wanted.is_some() { 1 } else { runs }
}

/// Tries random orders. `SCENARIO_SEED=N` repeats the one that a failure names.
#[must_use]
pub fn order(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    let zone = match super::zone(&scenario.facts) {
        Ok(zone) => zone,
        Err(error) => {
            report.fail(&scenario.file, 1, error);
            return Verdict::Judged(report);
        }
    };
    let expected = State::built(scenario, &zone);
    for seed in seeds(ORDERS) {
        let shown = State::mixed(scenario, &zone, seed);
        if shown != expected {
            let line = scenario.steps[0].line;
            let difference = expected.difference(&shown);
            report.fail(
                &scenario.file,
                line,
                format!("another order, SCENARIO_SEED={seed}, ends elsewhere\n{difference}"),
            );
            break;
        }
    }
    Verdict::Judged(report)
}

/// The texts of all stages at the end.
#[derive(Debug, PartialEq, Eq)]
struct State(Vec<(String, String)>);

/// The stages that are fed by updates.
struct Stages<'a> {
    scenario: &'a Scenario,
    feed: Feed,
    tables: Tables,
    zone: Zone,
}

impl<'a> Stages<'a> {
    fn new(scenario: &'a Scenario, zone: &Zone) -> Self {
        let facts = &scenario.facts;
        let feed = Feed::new(facts);
        let tables = Tables::build(facts, &feed.known());
        Self { scenario, feed, tables, zone: zone.clone() }
    }

    fn update(&mut self) {
        let (known, changes) = (self.feed.known(), self.feed.model.take_changes());
        self.tables.update(&known, &changes);
        self.zone = self.zone.update(&known.snapshot, &changes, 0);
    }

    fn state(&self) -> State {
        State::of(self.scenario, &self.feed, &self.tables, &self.zone)
    }
}

impl State {
    fn of(scenario: &Scenario, feed: &Feed, tables: &Tables, zone: &Zone) -> Self {
        let mut texts = vec![("services".to_owned(), feed.model.snapshot().to_string())];
        texts.push(("zone".to_owned(), zone.to_string()));
        for node in &scenario.facts.nodes {
            texts.push((format!("forwarding {}", node.name), tables.text(&node.name)));
        }
        Self(texts)
    }

    /// Everything at once, built from the last snapshot.
    fn built(scenario: &Scenario, zone: &Zone) -> Self {
        let mut feed = Feed::new(&scenario.facts);
        scenario.steps.iter().flat_map(|step| &step.events).for_each(|event| feed.play(event));
        let known = feed.known();
        let tables = Tables::build(&scenario.facts, &known);
        let zone = Zone::build(Arc::new(zone.config().clone()), &known.snapshot, 0);
        Self::of(scenario, &feed, &tables, &zone)
    }

    fn mixed(scenario: &Scenario, zone: &Zone, seed: u64) -> Self {
        let mut order = Order::seeded(seed);
        let mut stages = Stages::new(scenario, zone);
        for event in interleave(scenario.steps.iter().flat_map(|step| &step.events), &mut order) {
            stages.feed.play(event);
            if order.below(2) == 0 {
                stages.update();
            }
        }
        stages.update();
        stages.state()
    }

    fn difference(&self, other: &Self) -> String {
        let pairs = self.0.iter().zip(&other.0).filter(|(expected, shown)| expected != shown);
        let texts = pairs.map(|((stage, expected), (_, shown))| {
            let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
            let difference = super::diff(&lines(expected), &lines(shown)).join("\n    ");
            format!("  {stage}:\n    {difference}")
        });
        texts.collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: &str = "# t\n--- objects\napiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: v1\n\
        kind: Service\nmetadata: {name: b}\n--- delete\nService default/a\nService default/b\nService default/a\n";

    #[test]
    fn each_objects_own_order_is_kept() {
        let scenario = Scenario::parse("x", THREE).unwrap();
        let mut orders = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let events = scenario.steps.iter().flat_map(|step| &step.events);
            let mixed = interleave(events, &mut Order::seeded(seed));
            let word = |event: &&Event| match event {
                Event::Apply(key, _) => format!("+{}", key.name.name()),
                Event::Delete(key) => format!("-{}", key.name.name()),
            };
            let words: Vec<String> = mixed.iter().map(word).collect();
            let of =
                |name: &str| words.iter().filter(|word| word.ends_with(name)).cloned().collect::<Vec<_>>();
            assert_eq!((of("a").join(""), of("b").join("")), ("+a-a-a".to_owned(), "+b-b".to_owned()));
            orders.insert(words);
        }
        assert_eq!(orders.len(), 10, "5 events, 3 of them of one object: 5!/(3! 2!) orders");
    }
}
