//! Services by name: a hash index that shares structure between versions and costs a lookup two cache misses.
//!
//! Two fixed levels of 64 branches lead to a leaf, a sorted slice of hashes with the records beside them; the records
//! hold their own key in place, next to what most questions ask for. A persistent tree map did the same with four times
//! the misses, which were most of the cost of an answer. A change copies one leaf and the two branch nodes above it.
//!
//! The misses that are left are shared by a batch of queries: [`Index::look_up`] takes each step for all of them before
//! the next one, so that the processor waits for all at once.

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::Arc;

use foldhash::quality::RandomState;

use super::{NamedPort, ServiceRecords};

/// Branches of a node, as bits of the hash.
const BRANCH_BITS: u32 = 6;
/// Branches of a node.
const BRANCHES: usize = 1 << BRANCH_BITS;

/// One Service in a leaf.
#[derive(Clone, Debug)]
struct Entry {
    hash: u64,
    records: Arc<ServiceRecords>,
}

type Leaf = Arc<[Entry]>;
type Node = Arc<[Leaf; BRANCHES]>;

/// All Services of a zone. Cloning is cheap; versions share what is equal.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    nodes: Arc<[Node; BRANCHES]>,
    /// Keyed at random, so that nobody can choose names that collide.
    hasher: RandomState,
    length: usize,
}

impl Default for Index {
    fn default() -> Self {
        let leaf: Leaf = Arc::from([]);
        let node: Node = Arc::new(std::array::from_fn(|_| Arc::clone(&leaf)));
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
fn search(leaf: &[Entry], hash: u64, key: &[u8]) -> Result<usize, usize> {
    let start = leaf.partition_point(|entry| entry.hash < hash);
    let equal = leaf[start..].iter().take_while(|entry| entry.hash == hash);
    equal.zip(start..).find(|(entry, _)| entry.records.key() == key).map(|(_, at)| at).ok_or(start)
}

/// Where an entry of this hash stands in a sorted leaf, more or less: hashes are even, and a leaf's differ in their
/// upper bits.
fn guess(leaf: &[Entry], hash: u64) -> usize {
    ((u128::from(hash) * leaf.len() as u128) >> 64) as usize
}

/// The first entry of this hash, from a guess.
fn first_of(leaf: &[Entry], hash: u64) -> &[Entry] {
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
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Probe<'z, 'k> {
    key: &'k [u8],
    /// The ports will be asked for.
    ports: bool,
    hash: u64,
    leaf: &'z [Entry],
    found: Option<&'z ServiceRecords>,
}

impl<'z, 'k> Probe<'z, 'k> {
    /// A lookup of the labels `service.namespace` in lower-case wire form, empty for none; with the ports or without.
    pub(crate) fn new(key: &'k [u8], ports: bool) -> Self {
        Self { key, ports, ..Self::default() }
    }

    fn first_port(&self) -> Option<&'z NamedPort> {
        self.found.filter(|_| self.ports).and_then(|records| records.ports().first())
    }

    /// The Service, after [`Index::look_up`].
    pub(crate) fn found(&self) -> Option<&'z ServiceRecords> {
        self.found
    }
}

impl Index {
    /// The Service of the labels `service.namespace` in lower-case wire form.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<ServiceRecords>> {
        let hash = self.hasher.hash_one(key);
        let leaf = self.leaf(hash);
        search(leaf, hash, key).ok().map(|at| &leaf[at].records)
    }

    fn leaf(&self, hash: u64) -> &Leaf {
        let (first, second) = path(hash);
        &self.nodes[first][second]
    }

    /// Looks up a batch. What a pass reads was asked of memory in the pass before, for all lookups without waiting
    /// between them; `touched` only keeps the compiler from leaving that out.
    pub(crate) fn look_up<'z>(&'z self, probes: &mut [Probe<'z, '_>]) {
        let mut touched = 0;
        for probe in probes.iter_mut().filter(|probe| !probe.key.is_empty()) {
            probe.hash = self.hasher.hash_one(probe.key);
            probe.leaf = self.leaf(probe.hash);
        }
        for probe in probes.iter() {
            touched ^= probe.leaf.get(guess(probe.leaf, probe.hash)).map_or(0, |entry| entry.hash);
        }
        for probe in probes.iter_mut() {
            let entry = first_of(probe.leaf, probe.hash).first();
            probe.found = entry.filter(|entry| entry.hash == probe.hash).map(|entry| &*entry.records);
        }
        for probe in probes.iter() {
            touched ^= probe.found.map_or(0, ServiceRecords::touch);
        }
        for probe in probes.iter() {
            touched ^= probe.first_port().map_or(0, |port| u64::from(port.number));
        }
        for probe in probes.iter() {
            touched ^= probe.first_port().and_then(|port| port.name.bytes().next()).map_or(0, u64::from);
        }
        black_box(touched);
        for probe in
            probes.iter_mut().filter(|probe| probe.found.is_some_and(|found| found.key() != probe.key))
        {
            // Another name of the same hash: once in 2^64.
            probe.found = self.get(probe.key).map(AsRef::as_ref);
        }
    }

    /// Adds or replaces the Service that `records` are of.
    pub(crate) fn insert(&mut self, records: Arc<ServiceRecords>) {
        let hash = self.hasher.hash_one(records.key());
        self.edit(hash, |leaf, length| match search(leaf, hash, records.key()) {
            Ok(at) => leaf[at].records = records,
            Err(at) => {
                leaf.insert(at, Entry { hash, records });
                *length += 1;
            }
        });
    }

    /// Removes a Service.
    pub(crate) fn remove(&mut self, key: &[u8]) {
        let hash = self.hasher.hash_one(key);
        self.edit(hash, |leaf, length| {
            if let Ok(at) = search(leaf, hash, key) {
                leaf.remove(at);
                *length -= 1;
            }
        });
    }

    fn edit(&mut self, hash: u64, change: impl FnOnce(&mut Vec<Entry>, &mut usize)) {
        let (first, second) = path(hash);
        let node = &mut Arc::make_mut(&mut self.nodes)[first];
        let leaf = &mut Arc::make_mut(node)[second];
        let mut entries = leaf.to_vec();
        change(&mut entries, &mut self.length);
        *leaf = entries.into();
    }

    /// Number of Services.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// All Services in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ServiceRecords>> {
        self.nodes
            .iter()
            .flat_map(|node| node.iter())
            .flat_map(|leaf| leaf.iter())
            .map(|entry| &entry.records)
    }
}

impl PartialEq for Index {
    /// Equal Services; the hashes may differ.
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.iter().all(|records| other.get(records.key()) == Some(records))
    }
}
