//! Services by name: a hash index that shares structure between versions and costs a lookup two cache misses.
//!
//! Two fixed levels of 64 branches lead to a leaf, a sorted slice of hashes with the records beside them; the records
//! hold their own key in place, next to what most questions ask for. A persistent tree map did the same with four times
//! the misses, which were most of the cost of an answer. A change copies one leaf and the two branch nodes above it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::ServiceRecords;

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
            hasher: RandomState::new(),
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

impl Index {
    /// The Service of the labels `service.namespace` in lower-case wire form.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Arc<ServiceRecords>> {
        let hash = self.hasher.hash_one(key);
        let (first, second) = path(hash);
        let leaf = &self.nodes[first][second];
        search(leaf, hash, key).ok().map(|at| &leaf[at].records)
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
