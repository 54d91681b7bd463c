//! One copy of what many objects have in common: texts (names of ports, nodes and zones), placements, lists of ports.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use crate::endpoint::Placement;
use crate::{ServicePort, SlicePort};

/// What no object has any more is looked for when there is twice as much as after the last time.
const KEPT_MIN: usize = 64;

/// Values that are shared as long as somebody has them.
#[derive(Debug)]
struct Shared<T: ?Sized> {
    values: HashSet<Arc<T>>,
    /// At this size, those that nobody else has are dropped.
    limit: usize,
}

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self { values: HashSet::new(), limit: KEPT_MIN }
    }
}

impl<T: ?Sized + Eq + Hash> Shared<T> {
    fn share<V: AsRef<T> + Into<Arc<T>>>(&mut self, value: V) -> Arc<T> {
        if let Some(known) = self.values.get(value.as_ref()) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.limit {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.limit = KEPT_MIN.max(self.values.len() * 2);
        }
        let value = value.into();
        self.values.insert(Arc::clone(&value));
        value
    }
}

/// What the objects of one model share.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    texts: Shared<str>,
    placements: Shared<Placement>,
    service_ports: Shared<[ServicePort]>,
    slice_ports: Shared<[SlicePort]>,
}

impl Interner {
    pub(crate) fn text(&mut self, text: &str) -> Arc<str> {
        self.texts.share(text)
    }

    pub(crate) fn placement(&mut self, placement: Placement) -> Arc<Placement> {
        self.placements.share(placement)
    }

    pub(crate) fn service_ports(&mut self, ports: Vec<ServicePort>) -> Arc<[ServicePort]> {
        self.service_ports.share(ports)
    }

    pub(crate) fn slice_ports(&mut self, ports: Vec<SlicePort>) -> Arc<[SlicePort]> {
        self.slice_ports.share(ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_are_one_and_forgotten_ones_go() {
        let mut interner = Interner::default();
        let kept = interner.text("http");
        for number in 0..10_000 {
            interner.text(&format!("node-{number}"));
            assert!(interner.texts.values.len() <= KEPT_MIN, "nobody has them");
        }
        assert!(Arc::ptr_eq(&kept, &interner.text("http")));
    }
}
