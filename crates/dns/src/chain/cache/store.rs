//! A bounded map of answers: sixteen shards, a random entry goes when one is full.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::message::records::{Record, Response};

/// Shards, so that threads seldom wait for each other.
const SHARDS: usize = 16;
/// Memory of one store, in bytes: ten thousand ordinary answers take a quarter of it.
const BYTES_MAX: usize = 16 << 20;
/// What a record and an entry take besides their bytes, roughly.
const RECORD_OVERHEAD: usize = 96;
const ENTRY_OVERHEAD: usize = 256;

/// One answer.
pub(crate) struct Entry {
    pub(super) response: Response,
    /// Its lifetime in seconds, when it came.
    pub(super) ttl: u32,
    stored: Instant,
    hits: AtomicU32,
    last_hit: Mutex<Instant>,
    renewing: AtomicBool,
}

impl Entry {
    pub(super) fn new(response: Response, ttl: u32) -> Self {
        let now = Instant::now();
        Self {
            response,
            ttl,
            stored: now,
            hits: AtomicU32::new(0),
            last_hit: Mutex::new(now),
            renewing: AtomicBool::new(false),
        }
    }

    /// When it ends.
    pub(super) fn end(&self) -> Instant {
        self.stored + Duration::from_secs(u64::from(self.ttl))
    }

    /// Seconds that it has left, rounded up; `None` past its end.
    pub(super) fn left(&self, now: Instant) -> Option<u32> {
        let left = self.end().checked_duration_since(now).filter(|left| !left.is_zero())?;
        // Not above the lifetime, which is 32 bits.
        Some(left.as_secs_f64().ceil() as u32)
    }

    /// Counts a question; a gap longer than `gap` starts the count again.
    pub(super) fn hit(&self, now: Instant, gap: Duration) -> u32 {
        let mut last = self.last_hit.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(*last) > gap {
            self.hits.store(0, Ordering::Relaxed);
        }
        *last = now;
        self.hits.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// True for the first who wants to renew it.
    pub(crate) fn begin_renewal(&self) -> bool {
        !self.renewing.swap(true, Ordering::Relaxed)
    }

    /// The renewal is over; one that failed may be tried again.
    pub(crate) fn end_renewal(&self) {
        self.renewing.store(false, Ordering::Relaxed);
    }

    fn bytes(&self) -> usize {
        let of = |record: &Record| RECORD_OVERHEAD + record.owner.len() + record.data.len();
        let sections = [&self.response.answers, &self.response.authority, &self.response.additional];
        ENTRY_OVERHEAD + sections.into_iter().flatten().map(of).sum::<usize>()
    }
}

#[derive(Default)]
struct Shard {
    /// Where each key's entry is.
    places: HashMap<Arc<[u8]>, usize>,
    /// In no order, so that a random one is found at once.
    entries: Vec<(Arc<[u8]>, Arc<Entry>)>,
    bytes: usize,
}

impl Shard {
    fn remove(&mut self, key: &[u8]) {
        if let Some(place) = self.places.remove(key) {
            self.take_out(place);
        }
    }

    /// Removes the entry at this place, whose key is no longer in the map.
    fn take_out(&mut self, place: usize) {
        let (key, entry) = self.entries.swap_remove(place);
        self.bytes -= entry.bytes() + key.len();
        if let Some((moved, _)) = self.entries.get(place) {
            self.places.insert(Arc::clone(moved), place);
        }
    }

    fn evict(&mut self) {
        let place = rand::random_range(0..self.entries.len());
        let key = Arc::clone(&self.entries[place].0);
        self.remove(&key);
    }
}

/// Answers of one kind.
pub(super) struct Store {
    shards: [Mutex<Shard>; SHARDS],
    hasher: std::hash::RandomState,
    shard_entries_max: usize,
}

impl Store {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: std::hash::RandomState::new(),
            shard_entries_max: capacity.div_ceil(SHARDS),
        }
    }

    fn shard(&self, key: &[u8]) -> std::sync::MutexGuard<'_, Shard> {
        use std::hash::BuildHasher;
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Arc<Entry>> {
        let shard = self.shard(key);
        shard.places.get(key).map(|place| Arc::clone(&shard.entries[*place].1))
    }

    pub(super) fn remove(&self, key: &[u8]) {
        self.shard(key).remove(key);
    }

    /// Adds or replaces; returns how many others had to go.
    pub(super) fn insert(&self, key: Box<[u8]>, entry: Entry) -> u64 {
        let mut shard = self.shard(&key);
        shard.remove(&key);
        let bytes = entry.bytes() + key.len();
        let mut evicted = 0;
        while !shard.entries.is_empty()
            && (shard.entries.len() >= self.shard_entries_max || shard.bytes + bytes > BYTES_MAX / SHARDS)
        {
            shard.evict();
            evicted += 1;
        }
        let (key, place): (Arc<[u8]>, usize) = (key.into(), shard.entries.len());
        shard.places.insert(Arc::clone(&key), place);
        shard.entries.push((key, Arc::new(entry)));
        shard.bytes += bytes;
        evicted
    }

    pub(super) fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).entries.len())
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_by_entries_and_by_bytes() {
        let store = Store::new(32);
        let key = |number: u32| -> Box<[u8]> { Box::new(number.to_be_bytes()) };
        for number in 0..1000 {
            store.insert(key(number), Entry::new(Response::default(), 5));
        }
        assert!(store.len() <= 32);
        let store = Store::new(1_000_000);
        let big = || Response {
            answers: vec![Record { owner: vec![0], kind: 16, class: 1, ttl: 1, data: vec![0; 60_000] }],
            ..Response::default()
        };
        let evicted: u64 = (0..1000).map(|number| store.insert(key(number), Entry::new(big(), 5))).sum();
        assert!(store.len() < 300 && evicted > 700, "{} entries, {evicted} evicted", store.len());
        let last = store.get(&key(999)).unwrap();
        assert_eq!(last.left(Instant::now()), Some(5));
        store.remove(&key(999));
        assert!(store.get(&key(999)).is_none());
    }
}
