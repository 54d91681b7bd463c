//! From what the kernel holds to what a forwarding table wants, as the operations that lead there. Pure.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::family::Family;
use super::message::{Chain, Layout};
use super::numbering::{Renumbering, renumber};
use super::rules::{balance_chain, fixed_chains};
use super::state::{Presence, Route, Service, State};
use crate::forwarding_table::{ForwardingTable, Frontend, FrontendKey, TableChanges};

/// Members that come and go of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members<T> {
    pub(super) added: Vec<T>,
    pub(super) removed: Vec<T>,
}

impl<T> Default for Members<T> {
    fn default() -> Self {
        Self { added: Vec::new(), removed: Vec::new() }
    }
}

impl<T: Copy + Eq + Hash + Ord> Members<T> {
    /// What differs for `candidates` between a set that `has` and one that `wants`.
    fn between(
        candidates: impl IntoIterator<Item = T>,
        has: impl Fn(&T) -> bool,
        wants: impl Fn(&T) -> bool,
    ) -> Self {
        let mut members = Self::default();
        for candidate in candidates {
            match (has(&candidate), wants(&candidate)) {
                (false, true) => members.added.push(candidate),
                (true, false) => members.removed.push(candidate),
                _ => {}
            }
        }
        members
    }

    fn len(&self) -> usize {
        self.added.len() + self.removed.len()
    }
}

/// A frontend that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrontendPlan {
    pub(super) key: FrontendKey,
    /// The endpoints' numbers.
    pub(super) numbers: Renumbering,
    /// The element of the services map as it shall be.
    pub(super) service: Option<Service>,
    /// The element there is must go first: it differs or is not wanted.
    pub(super) unlink: bool,
    /// The wanted element must be written.
    pub(super) link: bool,
    /// Endpoints that left, or something other than endpoints was there before: flows may be stale.
    pub(super) stale: bool,
}

/// All operations of one sync.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Delete the table that is there.
    pub(super) delete_table: bool,
    /// Make the table and its sets.
    pub(super) make_table: bool,
    /// Chains to make and fill.
    pub(super) new_chains: Vec<Chain>,
    /// Chains to empty and fill again.
    pub(super) refilled_chains: Vec<Chain>,
    pub(super) frontends: Vec<FrontendPlan>,
    pub(super) service_ips: Members<IpAddr>,
    pub(super) hairpins: Members<IpAddr>,
    pub(super) answered: Members<FrontendKey>,
    pub(super) service_cidrs: Members<IpNet>,
}

impl Plan {
    /// The operations for what `changes` touched, or for everything when there are none to go by.
    pub(crate) fn new(
        layout: &Layout,
        state: &State,
        table: &ForwardingTable,
        changes: Option<&TableChanges>,
    ) -> Self {
        if state.presence == Presence::Ours {
            let mut plan = Self::default();
            plan.contents(layout.family, state, table, changes);
            plan.chains(layout.family, state, changes.is_none());
            return plan;
        }
        let mut plan =
            Self { make_table: true, delete_table: state.presence == Presence::Other, ..Self::default() };
        plan.contents(layout.family, &State::default(), table, None);
        plan.chains(layout.family, &State::default(), true);
        plan
    }

    /// True when there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Number of element operations.
    pub(crate) fn size(&self) -> usize {
        let frontend = |plan: &FrontendPlan| {
            let numbers = &plan.numbers;
            numbers.put.len()
                + numbers.replaced.len()
                + numbers.dropped.len()
                + usize::from(plan.unlink)
                + usize::from(plan.link)
        };
        let members = self.service_ips.len() + self.hairpins.len() + self.answered.len();
        self.frontends.iter().map(frontend).sum::<usize>() + members + self.service_cidrs.len()
    }

    /// Frontends of which established flows may lead to endpoints that are gone.
    pub(crate) fn stale(&self) -> impl Iterator<Item = FrontendKey> {
        self.frontends.iter().filter(|plan| plan.stale).map(|plan| plan.key)
    }

    fn contents(
        &mut self,
        family: &Family,
        state: &State,
        table: &ForwardingTable,
        changes: Option<&TableChanges>,
    ) {
        let all;
        let touched = match changes {
            Some(changes) => changes,
            None => {
                all = everything(state, table);
                &all
            }
        };
        let of_family = |address: &IpAddr| family.contains(*address);
        let keys = touched.frontends.iter().filter(|key| family.contains(key.address));
        self.frontends = keys.filter_map(|key| frontend(key, state, table.frontend(key))).collect();
        self.service_ips = Members::between(
            touched.addresses.iter().copied().filter(of_family),
            |address| state.service_ips.contains(address),
            |address| table.is_address(*address),
        );
        self.hairpins = Members::between(
            touched.hairpins.iter().copied().filter(of_family),
            |address| state.hairpins.contains(address),
            |address| table.is_hairpin(*address),
        );
        if touched.facts {
            self.facts(family, state, table);
        }
    }

    fn facts(&mut self, family: &Family, state: &State, table: &ForwardingTable) {
        let facts = table.facts();
        let keys: BTreeSet<FrontendKey> = state.answered.iter().chain(&facts.answered).copied().collect();
        self.answered = Members::between(
            keys.into_iter().filter(|key| family.contains(key.address)),
            |key| state.answered.contains(key),
            |key| facts.answered.contains(key),
        );
        let wanted: BTreeSet<IpNet> = facts.merged_cidrs().into_iter().collect();
        let cidrs: BTreeSet<IpNet> = state.service_cidrs.union(&wanted).copied().collect();
        self.service_cidrs = Members::between(
            cidrs.into_iter().filter(|cidr| family.contains(cidr.addr())),
            |cidr| state.service_cidrs.contains(cidr),
            |cidr| wanted.contains(cidr),
        );
    }

    /// Balance chains that the frontends need and that are missing; when `all`, every chain is looked at.
    fn chains(&mut self, family: &Family, state: &State, all: bool) {
        let counts: BTreeSet<u32> = self
            .frontends
            .iter()
            .filter_map(|plan| match plan.service.as_ref()?.route {
                Route::Balance(count) if count > 1 => Some(count),
                _ => None,
            })
            .collect();
        let mut wanted = if all { fixed_chains(family) } else { Vec::new() };
        let known = state.chains.keys().filter(|_| all).filter_map(|name| super::rules::balance_count(name));
        let known: BTreeSet<u32> = known.filter(|count| *count > 1).collect();
        let missing = counts.into_iter().filter(|count| !state.balances(*count));
        wanted.extend(missing.chain(known).map(|count| balance_chain(family, count)));
        for chain in wanted {
            let comments = chain.rules.iter().map(|rule| &rule.comment);
            match state.chains.get(&chain.name) {
                None => self.new_chains.push(chain),
                Some(found) if !comments.eq(found) => self.refilled_chains.push(chain),
                Some(_) => {}
            }
        }
    }

    /// Notes in `state` that the plan was carried out.
    pub(crate) fn apply(self, state: &mut State) {
        if self.make_table {
            *state = State { presence: Presence::Ours, ..State::default() };
        }
        for chain in self.new_chains.into_iter().chain(self.refilled_chains) {
            state.chains.insert(chain.name, chain.rules.into_iter().map(|rule| rule.comment).collect());
        }
        for plan in self.frontends {
            plan.apply(state);
        }
        update(&mut state.service_ips, self.service_ips);
        update(&mut state.hairpins, self.hairpins);
        update(&mut state.answered, self.answered);
        for cidr in self.service_cidrs.removed {
            state.service_cidrs.remove(&cidr);
        }
        state.service_cidrs.extend(self.service_cidrs.added);
    }
}

impl FrontendPlan {
    fn apply(self, state: &mut State) {
        match self.service {
            Some(service) => state.services.insert(self.key, service),
            None => state.services.remove(&self.key),
        };
        if self.numbers.order.is_empty() {
            state.endpoints.remove(&self.key);
        } else {
            state.endpoints.insert(self.key, self.numbers.order.into_iter().map(Some).collect());
        }
    }
}

fn update<T: Eq + Hash>(set: &mut HashSet<T>, members: Members<T>) {
    for member in members.removed {
        set.remove(&member);
    }
    set.extend(members.added);
}

fn everything(state: &State, table: &ForwardingTable) -> TableChanges {
    TableChanges {
        frontends: state.services.keys().chain(state.endpoints.keys()).copied().chain(table.keys()).collect(),
        addresses: state.service_ips.iter().copied().chain(table.addresses()).collect(),
        hairpins: state.hairpins.iter().copied().chain(table.hairpins()).collect(),
        facts: true,
    }
}

fn frontend(key: &FrontendKey, state: &State, wanted: Option<&Frontend>) -> Option<FrontendPlan> {
    let old = state.endpoints.get(key).map(Vec::as_slice).unwrap_or_default();
    let new = wanted.map(|frontend| frontend.target.endpoints()).unwrap_or_default();
    let service = wanted.map(|frontend| Service {
        route: Route::of(&frontend.target),
        owner: super::message::clip(&frontend.owner()).into(),
    });
    let found = state.services.get(key);
    let same = found == service.as_ref();
    let numbers = renumber(old, new);
    if same && numbers.put.is_empty() && numbers.dropped.is_empty() {
        return None;
    }
    Some(FrontendPlan {
        key: *key,
        stale: is_stale(old, new),
        numbers,
        unlink: !same && found.is_some(),
        link: !same && service.is_some(),
        service,
    })
}

/// Flows may be stale when an endpoint left, and when the first came: until then packets went elsewhere.
fn is_stale(old: &[Option<SocketAddr>], new: &[SocketAddr]) -> bool {
    old.is_empty() || old.iter().flatten().any(|endpoint| new.binary_search(endpoint).is_err())
}
