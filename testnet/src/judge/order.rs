//! Random orders of the same events. A watch keeps the order of one object's events and promises nothing else.

use std::collections::{HashMap, VecDeque};

use crate::scenario::{Event, Key};

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
