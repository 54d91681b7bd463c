//! What `sluice dns top` reads from an agent, as JSON: [`dns::tap::Reading`] with names for its parts. Readings of several
//! nodes add up.

use std::collections::BTreeMap;

use dns::tap::{Busy, Reading};
use serde::{Deserialize, Serialize};

/// What was counted since the watching began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Watched {
    pub(crate) milliseconds: u64,
    pub(crate) queries: u64,
    pub(crate) codes: BTreeMap<String, u64>,
    pub(crate) types: BTreeMap<String, u64>,
    pub(crate) plugins: BTreeMap<String, u64>,
    /// As [`Reading::durations`].
    pub(crate) durations: Vec<u64>,
    pub(crate) names: BTreeMap<String, Sums>,
    pub(crate) clients: BTreeMap<String, Sums>,
}

/// What was counted of one name or one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sums {
    pub(crate) queries: u64,
    pub(crate) nxdomain: u64,
    pub(crate) failed: u64,
    pub(crate) microseconds: u64,
}

impl From<Reading> for Watched {
    fn from(reading: Reading) -> Self {
        let sums =
            |list: Vec<Busy>| list.into_iter().map(|busy| (busy.who.clone(), Sums::of(&busy))).collect();
        Self {
            milliseconds: reading.milliseconds,
            queries: reading.queries,
            codes: reading.codes.into_iter().collect(),
            types: reading.kinds.into_iter().collect(),
            plugins: reading.plugins.into_iter().collect(),
            durations: reading.durations,
            names: sums(reading.names),
            clients: sums(reading.clients),
        }
    }
}

impl Sums {
    fn of(busy: &Busy) -> Self {
        Self {
            queries: busy.queries,
            nxdomain: busy.denied,
            failed: busy.failed,
            microseconds: busy.microseconds,
        }
    }

    fn add(&mut self, other: Self) {
        self.queries += other.queries;
        self.nxdomain += other.nxdomain;
        self.failed += other.failed;
        self.microseconds += other.microseconds;
    }
}

impl Watched {
    /// Adds what another node has counted in the same time.
    pub(crate) fn add(&mut self, other: &Self) {
        self.milliseconds = self.milliseconds.max(other.milliseconds);
        self.queries += other.queries;
        let count = |into: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>| {
            from.iter().for_each(|(key, count)| *into.entry(key.clone()).or_default() += count);
        };
        count(&mut self.codes, &other.codes);
        count(&mut self.types, &other.types);
        count(&mut self.plugins, &other.plugins);
        self.durations.resize(self.durations.len().max(other.durations.len()), 0);
        self.durations.iter_mut().zip(&other.durations).for_each(|(own, other)| *own += other);
        let sum = |into: &mut BTreeMap<String, Sums>, from: &BTreeMap<String, Sums>| {
            from.iter().for_each(|(key, sums)| into.entry(key.clone()).or_default().add(*sums));
        };
        sum(&mut self.names, &other.names);
        sum(&mut self.clients, &other.clients);
    }
}
