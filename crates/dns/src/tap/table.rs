//! Sums by key, of a bounded number of keys.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::Sums;

/// The sums. When it is full the rarer half goes, so the frequent ones stay and an addition costs little on average.
pub(super) struct Table<K> {
    sums: HashMap<K, Sums, foldhash::fast::RandomState>,
    keys_max: usize,
}

impl<K: Hash + Eq> Table<K> {
    pub(super) fn new(keys_max: usize) -> Self {
        Self { sums: HashMap::default(), keys_max }
    }

    /// The sums of a key.
    pub(super) fn sums<Q>(&mut self, key: &Q) -> &mut Sums
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if !self.sums.contains_key(key) && self.sums.len() >= self.keys_max {
            self.halve();
        }
        self.sums.entry(key.to_owned()).or_default()
    }

    fn halve(&mut self) {
        let mut counts: Vec<u64> = self.sums.values().map(|sums| sums.queries).collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let (median, mut room) = (*median, middle);
        // Many share the median when names are random: some of them go all the same.
        self.sums.retain(|_, sums| {
            let stays = sums.queries > median || (sums.queries == median && room > 0);
            room = room.saturating_sub(usize::from(stays));
            stays
        });
    }

    /// The busiest, in that order.
    pub(super) fn busiest(&self, most: usize) -> Vec<(&K, &Sums)>
    where
        K: Ord,
    {
        let mut all: Vec<(&K, &Sums)> = self.sums.iter().collect();
        all.sort_unstable_by(|(one, left), (other, right)| {
            right.queries.cmp(&left.queries).then_with(|| one.cmp(other))
        });
        all.truncate(most);
        all
    }
}
