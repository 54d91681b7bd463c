//! What a watcher is given.

use std::time::{Duration, Instant};

use super::{BUCKETS, Counts, Sums};
use crate::chain::name_text;
use crate::message::records::{kind_name, rcode_name};

/// What was counted since the watching began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// For how long.
    pub milliseconds: u64,
    /// Queries that were answered.
    pub queries: u64,
    /// By response code; those that occurred, in the order of their numbers.
    pub codes: Vec<(String, u64)>,
    /// By type, the frequent first.
    pub kinds: Vec<(String, u64)>,
    /// By the plugin that answered, the frequent first.
    pub plugins: Vec<(String, u64)>,
    /// By duration: below 1 µs, 2 µs, 4 µs and so on; the last holds the rest.
    pub durations: Vec<u64>,
    /// The busiest names.
    pub names: Vec<Busy>,
    /// The busiest clients.
    pub clients: Vec<Busy>,
}

/// What was counted of one name or one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The name in lower case with its final dot, or the client's address.
    pub who: String,
    /// Queries.
    pub queries: u64,
    /// Those that were NXDOMAIN.
    pub denied: u64,
    /// Those that had another code than NOERROR and NXDOMAIN.
    pub failed: u64,
    /// Time that they took together.
    pub microseconds: u64,
}

impl Busy {
    fn of(who: String, sums: &Sums) -> Self {
        let Sums { queries, denied, failed, time } = *sums;
        Self { who, queries, denied, failed, microseconds: micros(time) }
    }
}

impl Reading {
    pub(super) fn of(counts: &Counts, now: Instant, most: usize) -> Self {
        let codes = (0_u16..).zip(&counts.codes).filter(|(_, count)| **count > 0);
        let kinds = counts.kinds.iter().map(|(kind, count)| (kind_name(*kind), *count));
        let names = counts.names.busiest(most).into_iter();
        let clients = counts.clients.busiest(most).into_iter();
        Self {
            milliseconds: u64::try_from(now.duration_since(counts.began).as_millis()).unwrap_or(u64::MAX),
            queries: counts.queries,
            codes: codes.map(|(code, count)| (rcode_name(code).to_owned(), *count)).collect(),
            kinds: frequent_first(kinds.collect()),
            plugins: frequent_first(counts.plugins.clone()),
            durations: counts.durations.to_vec(),
            names: names.map(|(wire, sums)| Busy::of(name_text(wire), sums)).collect(),
            clients: clients.map(|(client, sums)| Busy::of(client.to_string(), sums)).collect(),
        }
    }
}

/// A duration that this part of the queries (0.5: half of them) did not exceed, to the next power of two; `None` without queries.
/// `durations` are as in [`Reading::durations`].
#[must_use]
pub fn quantile(durations: &[u64], part: f64) -> Option<Duration> {
    let total: u64 = durations.iter().sum();
    let wanted = ((total as f64 * part).ceil() as u64).max(1);
    let mut below = 0;
    let reached = durations.iter().position(|count| {
        below += count;
        below >= wanted
    });
    reached.filter(|_| total > 0).map(|bucket| Duration::from_micros(1 << bucket.min(BUCKETS)))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn frequent_first(mut list: Vec<(String, u64)>) -> Vec<(String, u64)> {
    list.sort_by(|(one, left), (other, right)| right.cmp(left).then_with(|| one.cmp(other)));
    list
}
