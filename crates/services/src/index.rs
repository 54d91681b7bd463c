//! Records by key (Services by name, addresses by prefix): a hash index that shares structure between versions, costs a
//! lookup two cache misses, and a record some 16 bytes more than its own.
//!
//! Two fixed levels of 64 branches lead to a leaf, a sorted slice of hashes with the records beside them; the records
//! hold their own key, in place or behind a pointer. A persistent tree map did the same with four times the misses, which
//! were most of the cost of a DNS answer, and took four times the memory. A change copies one leaf and the two branch nodes above it.
//!
//! The misses that are left are shared by a batch of queries: [`Index::look_up`] takes each step for all of them before
//! the next one, so that the processor waits for all at once.

use std::hash::{BuildHasher, Hash};
use std::hint::black_box;
use std::sync::Arc;

use foldhash::quality::RandomState;
use triomphe::ThinArc;

/// Branches of a node, as bits of the hash.
const BRANCH_BITS: u32 = 6;
/// Branches of a node.
const BRANCHES: usize = 1 << BRANCH_BITS;

/// What an index holds: a pointer that is cheap to clone.
pub trait Record: Clone + PartialEq {
    /// What it is found by.
    type Key: ?Sized + Hash + Eq;

    /// Its own key.
    fn key(&self) -> &Self::Key;

    /// Asks memory for what a question reads of it; the result means nothing.
    fn touch(&self) -> usize;
}

/// One record in a leaf.
#[derive(Clone, Debug)]
struct Entry<R> {
    hash: u64,
    record: R,
}

/// A thin pointer: those of all leaves together should fit a cache.
type Leaf<R> = ThinArc<(), Entry<R>>;
type Node<R> = Arc<[Leaf<R>; BRANCHES]>;

/// All records of a kind. Cloning is cheap; versions share what is equal.
#[derive(Clone, Debug)]
pub struct Index<R> {
    nodes: Arc<[Node<R>; BRANCHES]>,
    /// Keyed at random, so that nobody can choose names that collide.
    hasher: RandomState,
    length: usize,
}

impl<R> Default for Index<R> {
    fn default() -> Self {
        let leaf: Leaf<R> = ThinArc::from_header_and_iter((), std::iter::empty());
        let node: Node<R> = Arc::new(std::array::from_fn(|_| leaf.clone()));
        Self {
            nodes: Arc::new(std::array::from_fn(|_| Arc::clone(&node))),
            hasher: RandomState::default(),
            length: 0,
        }
    }
}

/// The branches to take for a hash.
fn path(hash: u64) -> (usize, usize) {
    let mask = BRANCHES - 1;
    (hash as usize & mask, (hash >> BRANCH_BITS) as usize & mask)
}

/// Where in a leaf the key is, or where it belongs.
fn search<R: Record>(leaf: &[Entry<R>], hash: u64, key: &R::Key) -> Result<usize, usize> {
    let start = leaf.partition_point(|entry| entry.hash < hash);
    let equal = leaf[start..].iter().take_while(|entry| entry.hash == hash);
    equal.zip(start..).find(|(entry, _)| entry.record.key() == key).map(|(_, at)| at).ok_or(start)
}

/// Where an entry of this hash stands in a sorted leaf, more or less: hashes are even, and a leaf's differ in their
/// upper bits.
fn guess<R>(leaf: &[Entry<R>], hash: u64) -> usize {
    ((u128::from(hash) * leaf.len() as u128) >> 64) as usize
}

/// The first entry of this hash, from a guess.
fn first_of<R>(leaf: &[Entry<R>], hash: u64) -> &[Entry<R>] {
    let mut at = guess(leaf, hash);
    while at > 0 && leaf[at - 1].hash >= hash {
        at -= 1;
    }
    while leaf.get(at).is_some_and(|entry| entry.hash < hash) {
        at += 1;
    }
    &leaf[at..]
}

/// One lookup of a batch.
#[derive(Debug)]
pub struct Probe<'z, 'k, R: Record> {
    key: Option<&'k R::Key>,
    hash: u64,
    leaf: Option<&'z Leaf<R>>,
    found: Option<&'z R>,
}

impl<'z, 'k, R: Record> Probe<'z, 'k, R> {
    /// A lookup of this key, or none.
    pub fn new(key: Option<&'k R::Key>) -> Self {
        Self { key, hash: 0, leaf: None, found: None }
    }

    /// The record, after [`Index::look_up`].
    pub fn found(&self) -> Option<&'z R> {
        self.found
    }
}

impl<R: Record> Index<R> {
    /// The record of a key.
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        let hash = self.hasher.hash_one(key);
        let leaf = self.leaf(hash);
        search(leaf, hash, key).ok().map(|at| &leaf[at].record)
    }

    fn leaf(&self, hash: u64) -> &[Entry<R>] {
        &self.pointer(hash).slice
    }

    fn pointer(&self, hash: u64) -> &Leaf<R> {
        let (first, second) = path(hash);
        &self.nodes[first][second]
    }

    /// Looks up a batch. What a pass reads was asked of memory in the pass before, for all lookups without waiting
    /// between them; `touched` only keeps the compiler from leaving that out.
    pub fn look_up<'z>(&'z self, probes: &mut [Probe<'z, '_, R>]) {
        let mut touched = 0;
        for probe in probes.iter_mut() {
            let Some(key) = probe.key else { continue };
            probe.hash = self.hasher.hash_one(key);
            probe.leaf = Some(self.pointer(probe.hash));
        }
        for probe in probes.iter() {
            let leaf = probe.leaf.map_or(&[][..], |leaf| &leaf.slice);
            touched ^= leaf.get(guess(leaf, probe.hash)).map_or(0, |entry| entry.hash);
        }
        for probe in probes.iter_mut() {
            let entry = probe.leaf.and_then(|leaf| first_of(&leaf.slice, probe.hash).first());
            probe.found = entry.filter(|entry| entry.hash == probe.hash).map(|entry| &entry.record);
        }
        for probe in probes.iter() {
            touched ^= probe.found.map_or(0, |record| record.touch() as u64);
        }
        black_box(touched);
        for probe in probes.iter_mut() {
            let Some(key) = probe.key else { continue };
            if probe.found.is_some_and(|found| found.key() != key) {
                // Another key of the same hash: once in 2^64.
                probe.found = self.get(key);
            }
        }
    }

    /// Adds or replaces the record of a key.
    pub fn insert(&mut self, record: R) {
        let hash = self.hasher.hash_one(record.key());
        self.edit(hash, |leaf, length| match search(leaf, hash, record.key()) {
            Ok(at) => leaf[at].record = record,
            Err(at) => {
                leaf.insert(at, Entry { hash, record });
                *length += 1;
            }
        });
    }

    /// Removes the record of a key.
    pub fn remove(&mut self, key: &R::Key) {
        let hash = self.hasher.hash_one(key);
        self.edit(hash, |leaf, length| {
            if let Ok(at) = search(leaf, hash, key) {
                leaf.remove(at);
                *length -= 1;
            }
        });
    }

    fn edit(&mut self, hash: u64, change: impl FnOnce(&mut Vec<Entry<R>>, &mut usize)) {
        let (first, second) = path(hash);
        let node = &mut Arc::make_mut(&mut self.nodes)[first];
        let leaf = &mut Arc::make_mut(node)[second];
        let mut entries = leaf.slice.to_vec();
        change(&mut entries, &mut self.length);
        *leaf = ThinArc::from_header_and_iter((), entries.into_iter());
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.length
    }

    /// True when there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// All records in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        let leaves = self.nodes.iter().flat_map(|node| node.iter());
        leaves.flat_map(|leaf| leaf.slice.iter()).map(|entry| &entry.record)
    }
}

impl<R: Record> PartialEq for Index<R> {
    /// Equal records; the hashes may differ.
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().all(|record| other.get(record.key()) == Some(record))
    }
}
