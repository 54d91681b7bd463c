//! Who holds which frontend. Two Services may claim one address and port for a while, when one is deleted and the
//! other created with its address and the events arrive in either order: the first by name holds it, whatever came first.

use std::collections::HashMap;
use std::hash::Hash;

use services::ServiceName;

use super::{Frontend, FrontendKey};

/// Frontends by key, with every claim, and the keys of each Service.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    /// Claims in order of the Service's name; nearly always one.
    by_key: HashMap<FrontendKey, Box<[Frontend]>>,
    by_service: HashMap<ServiceName, Box<[FrontendKey]>>,
}

impl Claims {
    pub(super) fn holder(&self, key: &FrontendKey) -> Option<&Frontend> {
        self.by_key.get(key).and_then(|claims| claims.first())
    }

    pub(super) fn holders(&self) -> impl Iterator<Item = (&FrontendKey, &Frontend)> {
        self.by_key.iter().filter_map(|(key, claims)| Some((key, claims.first()?)))
    }

    /// Adds a claim; false when this Service has one already (a duplicate port: the first counts).
    pub(super) fn add(&mut self, key: FrontendKey, frontend: Frontend) -> bool {
        let claims = self.by_key.entry(key).or_default();
        let Err(place) = claims.binary_search_by(|claim| claim.service.cmp(&frontend.service)) else {
            return false;
        };
        let keys = self.by_service.entry(frontend.service.clone()).or_default();
        insert(keys, keys.len(), key);
        insert(claims, place, frontend);
        true
    }

    /// Takes out all claims of a Service.
    pub(super) fn remove(&mut self, service: &ServiceName) -> Vec<(FrontendKey, Frontend)> {
        let keys = self.by_service.remove(service).unwrap_or_default();
        keys.into_iter().filter_map(|key| Some((key, self.withdraw(key, service)?))).collect()
    }

    fn withdraw(&mut self, key: FrontendKey, service: &ServiceName) -> Option<Frontend> {
        let claims = self.by_key.get_mut(&key)?;
        let place = claims.binary_search_by(|claim| claim.service.cmp(service)).ok()?;
        let mut rest = std::mem::take(claims).into_vec();
        let frontend = rest.remove(place);
        if rest.is_empty() {
            self.by_key.remove(&key);
        } else {
            *claims = rest.into();
        }
        Some(frontend)
    }
}

/// Puts one more into a list that has room for no more than it holds: there are many such lists, and few ever grow.
fn insert<T>(list: &mut Box<[T]>, place: usize, item: T) {
    let mut longer = std::mem::take(list).into_vec();
    longer.reserve_exact(1);
    longer.insert(place, item);
    *list = longer.into();
}

/// A set whose members are there as often as they were added.
#[derive(Clone, Debug)]
pub(super) struct Counted<T>(HashMap<T, u32>);

impl<T> Default for Counted<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Copy + Eq + Hash> Counted<T> {
    pub(super) fn contains(&self, member: &T) -> bool {
        self.0.contains_key(member)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.keys()
    }

    /// True when the member is new.
    pub(super) fn add(&mut self, member: T) -> bool {
        let count = self.0.entry(member).or_insert(0);
        *count += 1;
        *count == 1
    }

    /// True when the member is gone.
    pub(super) fn subtract(&mut self, member: T) -> bool {
        let Some(count) = self.0.get_mut(&member) else { return false };
        *count -= 1;
        let gone = *count == 0;
        if gone {
            self.0.remove(&member);
        }
        gone
    }
}
