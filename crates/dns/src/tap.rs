//! Who asks what, while somebody watches (`sluice dns top`).
//!
//! ```text
//! UDP thread ─► a batch with its answers ─┐ only while it is watched
//! TCP, chain ─► one query with its answer ─┴─► Tap: sums, names, clients ─► Reading, as often as the watcher asks
//! ```
//! The watcher's question is what turns it on, for [`WATCHED_FOR`]; whoever watches asks again before that. While nobody does,
//! a batch of queries costs one look at a flag. Memory is bounded: beyond `NAMES_MAX` names (random ones, most likely)
//! the rarer half is forgotten.

mod reading;
mod table;

pub use reading::{Busy, Reading, quantile};

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::message::{HEADER_BYTES, QueryName, rcode, read_u16};
use table::Table;

/// How long one question of a watcher keeps the counting going.
pub const WATCHED_FOR: Duration = Duration::from_secs(15);
/// Names that are counted apart.
const NAMES_MAX: usize = 4096;
/// Clients that are counted apart.
const CLIENTS_MAX: usize = 4096;
/// Buckets of durations: below 1 µs, 2 µs, 4 µs … the last is everything from 8 s on.
const BUCKETS: usize = 25;

/// A query with its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'s> {
    /// The query's packet.
    pub(crate) query: &'s [u8],
    /// Who asked.
    pub(crate) client: Option<IpAddr>,
    /// The answer's packet.
    pub(crate) answer: &'s [u8],
    /// The plugin that answered, as metrics call it.
    pub(crate) plugin: &'s str,
    /// How long the client waited for us.
    pub(crate) duration: Duration,
}

/// What was counted of one name or one client.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    queries: u64,
    denied: u64,
    failed: u64,
    time: Duration,
}

impl Sums {
    fn add(&mut self, code: u8, duration: Duration) {
        self.queries += 1;
        match u16::from(code) {
            rcode::NOERROR => {}
            rcode::NXDOMAIN => self.denied += 1,
            _ => self.failed += 1,
        }
        self.time += duration;
    }
}

/// Everything since somebody began to watch.
struct Counts {
    began: Instant,
    until: Instant,
    queries: u64,
    codes: [u64; 16],
    kinds: Vec<(u16, u64)>,
    plugins: Vec<(String, u64)>,
    durations: [u64; BUCKETS],
    names: Table<Vec<u8>>,
    clients: Table<IpAddr>,
}

impl Counts {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            until: now,
            queries: 0,
            codes: [0; 16],
            kinds: Vec::new(),
            plugins: Vec::new(),
            durations: [0; BUCKETS],
            names: Table::new(NAMES_MAX),
            clients: Table::new(CLIENTS_MAX),
        }
    }

    fn add(&mut self, seen: &Seen<'_>) {
        let Some(name) = QueryName::read(seen.query, HEADER_BYTES) else { return };
        let kind = read_u16(seen.query, HEADER_BYTES + name.wire().len()).unwrap_or(0);
        let code = seen.answer.get(3).copied().unwrap_or(0) & 0x0f;
        self.queries += 1;
        self.codes[usize::from(code)] += 1;
        add_to(&mut self.kinds, &kind);
        add_to(&mut self.plugins, seen.plugin);
        self.durations[bucket(seen.duration)] += 1;
        self.names.sums(name.wire()).add(code, seen.duration);
        if let Some(client) = seen.client {
            self.clients.sums(&client).add(code, seen.duration);
        }
    }
}

/// Keys of a short list. Types beyond 64 of them are some scanner's, and left out.
const KEYS_MAX: usize = 64;

/// Counts one in a short list.
fn add_to<K: PartialEq<Q>, Q: ToOwned<Owned = K> + ?Sized>(list: &mut Vec<(K, u64)>, key: &Q) {
    match list.iter().position(|(known, _)| known == key) {
        Some(index) => list[index].1 += 1,
        None if list.len() < KEYS_MAX => list.push((key.to_owned(), 1)),
        None => {}
    }
}

/// The bucket of a duration: the number of bits of its microseconds.
fn bucket(duration: Duration) -> usize {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    ((u64::BITS - micros.leading_zeros()) as usize).min(BUCKETS - 1)
}

/// Counts while somebody watches. One for all servers of a process.
#[derive(Default)]
pub struct Tap {
    watched: AtomicBool,
    counts: Mutex<Option<Box<Counts>>>,
}

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tap").field("watched", &self.is_watched()).finish_non_exhaustive()
    }
}

impl Tap {
    /// True while somebody watches.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// What was counted since the watching began, with the `most` busiest names and clients; it goes on for [`WATCHED_FOR`]. The
    /// first reading is empty.
    pub fn read(&self, most: usize) -> Reading {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // What was left by a watcher that has gone is no part of what is watched now.
        let counts = match &mut *counts {
            Some(counts) if counts.until > now => counts,
            stale => stale.insert(Box::new(Counts::new(now))),
        };
        counts.until = now + WATCHED_FOR;
        self.watched.store(true, Ordering::Relaxed);
        Reading::of(counts, now, most)
    }

    /// Counts queries, when somebody watches still.
    pub(crate) fn note<'s>(&self, seen: impl Iterator<Item = Seen<'s>>) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *counts {
            Some(counts) if counts.until > Instant::now() => seen.for_each(|seen| counts.add(&seen)),
            _ => {
                *counts = None;
                self.watched.store(false, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(name: &str, kind: u8) -> Vec<u8> {
        let name: crate::name::Name = name.parse().unwrap();
        let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(name.as_wire());
        packet.extend([0, kind, 0, 1]);
        packet
    }

    fn note(tap: &Tap, name: &str, code: u8, client: &str, micros: u64) {
        let (query, answer) = (query(name, 1), [0, 1, 0x84, code]);
        let client = client.parse().ok();
        let duration = Duration::from_micros(micros);
        tap.note(
            [Seen { query: &query, client, answer: &answer, plugin: "kubernetes", duration }].into_iter(),
        );
    }

    #[test]
    fn nothing_is_counted_before_somebody_watches() {
        let tap = Tap::default();
        note(&tap, "a.b", 0, "10.0.0.1", 5);
        assert!(!tap.is_watched());
        assert_eq!(tap.read(10).queries, 0);
        assert!(tap.is_watched());
    }

    #[test]
    fn names_clients_codes_and_durations_are_summed() {
        let tap = Tap::default();
        tap.read(1);
        for (name, code, client, micros) in
            [("A.b", 0, "10.0.0.1", 5), ("a.b", 3, "10.0.0.1", 7), ("c.d", 2, "10.0.0.2", 3000)]
        {
            note(&tap, name, code, client, micros);
        }
        let reading = tap.read(10);
        assert_eq!(reading.queries, 3);
        assert_eq!(reading.codes, [("NOERROR".into(), 1), ("SERVFAIL".into(), 1), ("NXDOMAIN".into(), 1)]);
        assert_eq!(reading.kinds, [("A".to_owned(), 3)]);
        assert_eq!(reading.plugins, [("kubernetes".to_owned(), 3)]);
        let [first, second] = &reading.names[..] else { panic!("{reading:?}") };
        assert_eq!((&first.who[..], first.queries, first.denied, first.failed), ("a.b.", 2, 1, 0));
        assert_eq!((first.microseconds, second.failed), (12, 1));
        assert_eq!(reading.clients[0].who, "10.0.0.1");
        assert_eq!(
            quantile(&reading.durations, 0.5),
            Some(Duration::from_micros(8)),
            "below the end of its bucket"
        );
        assert_eq!(quantile(&reading.durations, 0.99), Some(Duration::from_micros(4096)));
        assert_eq!(tap.read(1).names.len(), 1);
    }

    #[test]
    fn random_names_do_not_fill_the_memory() {
        let tap = Tap::default();
        tap.read(1);
        for index in 0..3 * NAMES_MAX {
            note(&tap, &format!("{index}.x"), 3, "10.0.0.1", 1);
            note(&tap, "often.x", 0, "10.0.0.1", 1);
        }
        let reading = tap.read(usize::MAX);
        assert!(reading.names.len() <= NAMES_MAX);
        assert_eq!((&reading.names[0].who[..], reading.names[0].queries), ("often.x.", 3 * NAMES_MAX as u64));
    }
}
