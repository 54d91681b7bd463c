//! From what the kernel holds to what a forwarding table wants, as the operations that lead there. Pure.

mod affinity;
mod frontends;
mod members;
mod numbers;

use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) use affinity::{AffinityPlan, Retired, StickyChain};
pub(super) use frontends::FrontendPlan;
pub(super) use members::{Members, Sets, Subnets};
pub(super) use numbers::NumberPlan;

use super::family::Family;
use super::message::{Chain, Layout};
use super::rules::{Circumstances, List, balance_chain, fixed_chains};
use super::state::{Presence, Route, State};
use crate::forwarding_table::{ForwardingTable, FrontendKey, TableChanges};

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
    pub(super) numbers: NumberPlan,
    pub(super) frontends: Vec<FrontendPlan>,
    pub(super) sets: Sets,
    pub(super) affinity: AffinityPlan,
}

impl Plan {
    /// The operations for what `changes` touched, or for everything when there are none to go by.
    pub(crate) fn new(
        layout: &Layout,
        state: &State,
        table: &ForwardingTable,
        changes: Option<&TableChanges>,
    ) -> Self {
        let mut plan = Self::default();
        if state.presence == Presence::Ours {
            plan.contents(layout, state, table, changes);
            return plan;
        }
        plan.delete_table = state.presence == Presence::Other;
        if is_of_use(layout.family, table, changes) {
            plan.make_table = true;
            plan.contents(layout, &state.emptied(), table, None);
        }
        plan
    }

    /// The operations for exactly what `part` names, in a new table when there is none of ours.
    pub(crate) fn part(layout: &Layout, state: &State, table: &ForwardingTable, part: &TableChanges) -> Self {
        let mut plan = Self::default();
        if state.presence == Presence::Ours {
            plan.contents(layout, state, table, Some(part));
        } else {
            plan.make_table = true;
            plan.delete_table = state.presence == Presence::Other;
            plan.contents(layout, &state.emptied(), table, Some(part));
        }
        plan
    }

    /// All that is in the kernel or wanted.
    pub(crate) fn everything(state: &State, table: &ForwardingTable) -> TableChanges {
        everything(state, table)
    }

    /// The frontends that differ.
    pub(crate) fn keys(&self) -> impl Iterator<Item = FrontendKey> {
        self.frontends.iter().map(|plan| plan.key)
    }

    /// Virtual IPs that come or go.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.sets.service_ips.all()
    }

    /// Endpoints' addresses that come or go among those that may reach themselves.
    pub(crate) fn hairpins(&self) -> impl Iterator<Item = IpAddr> {
        self.sets.hairpins.all()
    }

    /// True when there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// True when chains come that a map's elements may lead to.
    pub(super) fn makes_chains(&self) -> bool {
        !self.new_chains.is_empty() || self.affinity.chains.iter().any(|chain| !chain.exists)
    }

    /// True when there is no table yet, or another one is replaced.
    pub(crate) fn makes_table(&self) -> bool {
        self.make_table
    }

    /// Frontends of which established flows may lead to endpoints that are gone.
    pub(crate) fn stale(&self) -> impl Iterator<Item = FrontendKey> {
        self.frontends.iter().filter(|plan| plan.stale).map(|plan| plan.key)
    }

    fn contents(
        &mut self,
        layout: &Layout,
        state: &State,
        table: &ForwardingTable,
        changes: Option<&TableChanges>,
    ) {
        let family = layout.family;
        let all;
        let touched = match changes {
            Some(changes) => changes,
            None => {
                all = everything(state, table);
                &all
            }
        };
        let keys = || touched.frontends.iter().filter(|key| family.contains(key.address));
        self.frontends =
            keys().filter_map(|key| FrontendPlan::new(layout, key, state, table.frontend(key))).collect();
        self.affinity = AffinityPlan::new(family, state, table, keys(), &self.frontends, changes.is_none());
        self.sets = Sets::new(family, state, table, touched);
        if touched.facts {
            self.fixed_chains(layout, state, table);
        }
        self.balance_chains(family, state);
        self.numbers = NumberPlan::new(state, &self.new_chains, touched.facts);
    }

    /// Chains that are always there, and balance chains that somebody may have edited.
    fn fixed_chains(&mut self, layout: &Layout, state: &State, table: &ForwardingTable) {
        let family = layout.family;
        let circumstances = Circumstances::of(layout, table.facts());
        let known =
            state.chains.keys().filter_map(|name| List::of_chain(name)).filter(|(_, count)| *count > 1);
        let known = known.map(|(list, count)| balance_chain(family, list, count));
        for chain in fixed_chains(family, &circumstances).into_iter().chain(known) {
            let comments = chain.rules.iter().map(|rule| &rule.comment);
            match state.chains.get(&chain.name) {
                None => self.new_chains.push(chain),
                Some(found) if !comments.eq(found) => self.refilled_chains.push(chain),
                Some(_) => {}
            }
        }
    }

    /// Balance chains that the frontends need and that are missing.
    fn balance_chains(&mut self, family: &Family, state: &State) {
        let routes = self.frontends.iter().flat_map(|plan| plan.wanted.routes());
        let needed: BTreeSet<(List, u32)> = routes
            .filter_map(|route| match route {
                Route::Balance(list, count) if *count > 1 => Some((*list, *count)),
                _ => None,
            })
            .collect();
        let missing = needed.into_iter().filter(|(list, count)| !state.balances(*list, *count));
        self.new_chains.extend(missing.map(|(list, count)| balance_chain(family, list, count)));
    }

    /// Notes in `state` that the plan was carried out, and whether the kernel let go what was to be retired.
    pub(crate) fn apply(self, state: &mut State, retired: bool) {
        if self.delete_table {
            *state = State::default();
        }
        if self.make_table {
            *state = State { presence: Presence::Ours, ..State::default() };
        }
        for chain in self.new_chains.into_iter().chain(self.refilled_chains) {
            state.chains.insert(chain.name, chain.rules.into_iter().map(|rule| rule.comment).collect());
        }
        self.numbers.apply(state);
        for plan in self.frontends {
            plan.apply(state);
        }
        self.sets.apply(state);
        self.affinity.apply(state, retired);
    }
}

/// True when a table of this family would hold more than rules: a kernel without the family is then never asked.
fn is_of_use(family: &Family, table: &ForwardingTable, changes: Option<&TableChanges>) -> bool {
    let facts = table.facts();
    let known = || facts.answered.iter().any(|key| family.contains(key.address));
    if facts.service_cidrs.iter().any(|cidr| family.contains(cidr.addr())) || known() {
        return true;
    }
    match changes {
        // While there is no table, every frontend of the family that came is among the touched.
        Some(changes) => {
            let mut keys = changes.frontends.iter().filter(|key| family.contains(key.address));
            keys.any(|key| table.frontend(key).is_some())
        }
        None => table.keys().any(|key| family.contains(key.address)),
    }
}

fn everything(state: &State, table: &ForwardingTable) -> TableChanges {
    TableChanges {
        frontends: state.frontends.keys().copied().chain(table.keys()).collect(),
        addresses: state.service_ips.iter().copied().chain(table.addresses()).collect(),
        hairpins: state.hairpins.iter().copied().chain(table.hairpins()).collect(),
        facts: true,
    }
}
