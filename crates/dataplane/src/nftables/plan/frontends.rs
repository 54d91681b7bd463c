//! From what is held for a frontend to what shall be, as elements that come and go.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::forwarding_table::{Frontend, FrontendKey, Target};
use crate::nftables::counter::Count;
use crate::nftables::element::{Element, endpoint_key, endpoint_value, service_key, source_range};
use crate::nftables::message::Layout;
use crate::nftables::numbering::{Renumbering, renumber};
use crate::nftables::rules::List;
use crate::nftables::set::{
    BY_CLIENT, GUARDED, INSIDE, MASQUERADED, MASQUERADED_OWN, OUTSIDE, REFUSED, SERVICES, SOURCES,
};
use crate::nftables::state::{Held, Numbered, Route, State};
use crate::nftables::transaction::Changes;

/// A frontend that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrontendPlan {
    pub(in crate::nftables) key: FrontendKey,
    held: Held,
    pub(super) wanted: Held,
    /// The numbers of both lists' endpoints, as [`List::BOTH`].
    numbers: [Renumbering; 2],
    /// Endpoints left, or there were none before: flows may be stale.
    pub(super) stale: bool,
}

impl FrontendPlan {
    pub(super) fn new(
        layout: &Layout,
        key: &FrontendKey,
        state: &State,
        frontend: Option<&Frontend>,
    ) -> Option<Self> {
        let nothing = Held::default();
        let held = state.frontends.get(key).unwrap_or(&nothing);
        // Clients that are remembered are led to their endpoint by rules, not by numbers.
        let numbered_lists = frontend.is_some_and(|frontend| frontend.affinity.is_none());
        let endpoints = |target: Option<&Target>, list| {
            let target = target.filter(|_| numbered_lists);
            let old: Vec<Option<SocketAddr>> = held.list(list).iter().collect();
            renumber(&old, target.map(Target::endpoints).unwrap_or_default())
        };
        let outside = frontend.and_then(|frontend| frontend.outside.as_ref());
        let numbers = [
            endpoints(frontend.map(|frontend| &frontend.target), List::All),
            endpoints(outside, List::Outside),
        ];
        let lists = [0, 1].map(|list: usize| numbered(&numbers[list]));
        let of = |frontend| Held::of(frontend, key.protocol, lists, layout.late_refusal);
        let wanted = frontend.map(of).unwrap_or_default();
        let before = state.endpoints(held);
        let after: BTreeSet<SocketAddr> = frontend.into_iter().flat_map(Frontend::endpoints).collect();
        if *held == wanted && before == after {
            return None;
        }
        // Flows may be stale when an endpoint left, and when the first came: until then packets went elsewhere.
        let stale = before.is_empty() || !before.is_subset(&after);
        Some(Self { key: *key, held: held.clone(), wanted, numbers, stale })
    }

    /// Endpoints that come or are replaced.
    pub(in crate::nftables) fn put_endpoints(&self, changes: &mut Changes) {
        for (list, numbers) in List::BOTH.into_iter().zip(&self.numbers) {
            for number in &numbers.replaced {
                changes.remove(list.map(), Element::key(endpoint_key(&self.key, *number)));
            }
            for number in &numbers.put {
                let endpoint = numbers.order[*number as usize];
                let element = Element::data(endpoint_key(&self.key, *number), endpoint_value(endpoint));
                changes.add(list.map(), element);
            }
        }
    }

    /// Endpoints that go.
    pub(in crate::nftables) fn drop_endpoints(&self, changes: &mut Changes) {
        self.drop_lists(changes, |list| !self.outlives(list));
    }

    /// What a packet may still need that met the frontend as it was, under another policy: in a transaction after the
    /// one that changed it, because a packet's next lookup already finds the newest elements.
    pub(in crate::nftables) fn release(&self, changes: &mut Changes) {
        self.drop_lists(changes, |list| self.outlives(list));
        if self.masqueraded_until_released() {
            changes.remove(MASQUERADED, Element::key(service_key(&self.key)));
        }
    }

    /// True for the list for connections from elsewhere when the frontend goes on without one.
    fn outlives(&self, list: List) -> bool {
        let has_outside = self.wanted.external.as_ref().is_some_and(|external| external.outside.is_some());
        list == List::Outside && self.wanted.service.is_some() && !has_outside
    }

    /// Connections that went to another node's endpoint by policy Cluster must be masqueraded, or their answers pass by.
    fn masqueraded_until_released(&self) -> bool {
        self.wanted.service.is_some()
            && self.held.external().masqueraded
            && !self.wanted.external().masqueraded
    }

    fn drop_lists(&self, changes: &mut Changes, which: impl Fn(List) -> bool) {
        for (list, numbers) in List::BOTH.into_iter().zip(&self.numbers).filter(|(list, _)| which(*list)) {
            for number in &numbers.dropped {
                changes.remove(list.map(), Element::key(endpoint_key(&self.key, *number)));
            }
        }
    }

    /// True when another element takes the place of one that has counted connections.
    pub(in crate::nftables) fn replaces_service(&self) -> bool {
        self.held.service.is_some()
            && self.wanted.service.is_some()
            && self.held.service != self.wanted.service
    }

    /// All other elements; they go in one transaction. Connections go on being counted from `count`.
    pub(in crate::nftables) fn link(&self, count: Option<Count>, changes: &mut Changes) {
        let (held, wanted) = (&self.held, &self.wanted);
        if held.service != wanted.service {
            if held.service.is_some() {
                changes.remove(SERVICES, Element::key(service_key(&self.key)));
            }
            if let Some(service) = &wanted.service {
                let element = Element::data(service_key(&self.key), service.route.number().bytes());
                changes.add(SERVICES, element.commented(&service.label).counting_from(count));
            }
        }
        if held.external.is_none() && wanted.external.is_none() {
            return;
        }
        let (held, wanted) = (held.external(), wanted.external());
        self.route(BY_CLIENT, held.by_client.as_ref(), wanted.by_client.as_ref(), changes);
        self.route(INSIDE, held.inside.as_ref(), wanted.inside.as_ref(), changes);
        self.route(OUTSIDE, held.outside.as_ref(), wanted.outside.as_ref(), changes);
        self.member(REFUSED, held.refused, wanted.refused, changes);
        self.member(GUARDED, held.guarded, wanted.guarded, changes);
        let masqueraded = wanted.masqueraded || self.masqueraded_until_released();
        self.member(MASQUERADED, held.masqueraded, masqueraded, changes);
        self.member(MASQUERADED_OWN, held.masqueraded_own, wanted.masqueraded_own, changes);
        for range in held.sources.difference(&wanted.sources) {
            changes.remove(SOURCES, source_range(&self.key, *range));
        }
        for range in wanted.sources.difference(&held.sources) {
            changes.add(SOURCES, source_range(&self.key, *range));
        }
    }

    fn route(&self, map: &'static str, held: Option<&Route>, wanted: Option<&Route>, changes: &mut Changes) {
        if held == wanted {
            return;
        }
        if held.is_some() {
            changes.remove(map, Element::key(service_key(&self.key)));
        }
        if let Some(route) = wanted {
            changes.add(map, Element::verdict(service_key(&self.key), route.verdict()));
        }
    }

    fn member(&self, set: &'static str, held: bool, wanted: bool, changes: &mut Changes) {
        match (held, wanted) {
            (false, true) => changes.add(set, Element::key(service_key(&self.key))),
            (true, false) => changes.remove(set, Element::key(service_key(&self.key))),
            _ => {}
        }
    }

    /// Routes that go (-1) and come (1).
    pub(super) fn route_changes(&self) -> impl Iterator<Item = (&Route, i64)> {
        self.held.routes().map(|route| (route, -1)).chain(self.wanted.routes().map(|route| (route, 1)))
    }

    pub(super) fn apply(self, state: &mut State) {
        for (route, change) in self.route_changes() {
            state.count(route, change);
        }
        if self.wanted == Held::default() {
            state.frontends.remove(&self.key);
        } else {
            state.frontends.insert(self.key, self.wanted);
        }
    }
}

fn numbered(numbers: &Renumbering) -> Numbered {
    numbers.order.iter().copied().map(Some).collect()
}
