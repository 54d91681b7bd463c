//! What session affinity needs for the frontends that were touched: sets, chains, and what is to go.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use services::{Protocol, TrafficPolicy};

use super::frontends::FrontendPlan;
use crate::forwarding_table::{ForwardingTable, Frontend, FrontendKey, Target};
use crate::nftables::affinity::{Group, Sticky, is_chain, listed};
use crate::nftables::family::Family;
use crate::nftables::message::Chain;
use crate::nftables::rules::{endpoint_chain, sticky_chain};
use crate::nftables::state::{Client, Route, State};

/// A set of clients to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewSet {
    pub(in crate::nftables) name: String,
    /// Whom a table of another layout remembered.
    pub(in crate::nftables) clients: Vec<Client>,
}

/// A chain to be made, or emptied and filled again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StickyChain {
    pub(in crate::nftables) chain: Chain,
    pub(in crate::nftables) exists: bool,
}

/// What nothing leads to any more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retired {
    /// Those that lead to others come first.
    pub(in crate::nftables) chains: Vec<String>,
    pub(in crate::nftables) sets: Vec<String>,
}

impl Retired {
    pub(in crate::nftables) fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.sets.is_empty()
    }
}

/// What affinity needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AffinityPlan {
    pub(in crate::nftables) new_sets: Vec<NewSet>,
    /// Endpoints' chains before the chains that lead to them.
    pub(in crate::nftables) chains: Vec<StickyChain>,
    pub(in crate::nftables) retired: Retired,
}

/// A list as the forwarding table has it.
#[derive(Clone)]
struct Wanted {
    endpoints: Arc<[SocketAddr]>,
    protocol: Protocol,
    seconds: u64,
}

/// Where a target of a frontend with affinity leads, and to which endpoints.
fn wanted(key: &FrontendKey, frontend: &Frontend) -> Vec<(Sticky, Wanted)> {
    let Some(timeout) = frontend.affinity else { return Vec::new() };
    let targets =
        [(frontend.policy, Some(&frontend.target)), (TrafficPolicy::Local, frontend.outside.as_ref())];
    let balanced = targets.into_iter().filter_map(|(policy, target)| match target? {
        Target::Balance(endpoints) => {
            let sticky = Sticky::new(Group::of(frontend, key.protocol), policy);
            let (protocol, seconds) = (key.protocol, timeout.as_secs());
            Some((sticky, Wanted { endpoints: Arc::clone(endpoints), protocol, seconds }))
        }
        Target::Refuse | Target::Drop => None,
    });
    balanced.collect()
}

impl AffinityPlan {
    /// `frontends` is what differs among `touched`; with `all`, whatever else is there is looked at too.
    pub(super) fn new<'a>(
        family: &Family,
        state: &State,
        table: &ForwardingTable,
        touched: impl Iterator<Item = &'a FrontendKey>,
        frontends: &[FrontendPlan],
        all: bool,
    ) -> Self {
        let lists: BTreeMap<Sticky, Wanted> =
            touched.filter_map(|key| Some(wanted(key, table.frontend(key)?))).flatten().collect();
        let mut users: BTreeMap<Sticky, i64> = BTreeMap::new();
        for (route, change) in frontends.iter().flat_map(FrontendPlan::route_changes) {
            if let Route::Sticky(sticky) = route {
                *users.entry(sticky.clone()).or_default() += change;
            }
        }
        let mut groups: BTreeSet<Group> =
            lists.keys().chain(users.keys()).map(|sticky| sticky.group.clone()).collect();
        if all {
            let found = state.chains.keys().filter_map(|name| Sticky::of_chain(name));
            groups.extend(found.map(|sticky| sticky.group));
        }
        let mut builder =
            Builder { family, state, lists, users, plan: Self::default(), kept: BTreeSet::new() };
        groups.iter().for_each(|group| builder.group(group));
        builder.retire_known(all);
        builder.plan
    }

    pub(super) fn apply(self, state: &mut State, retired: bool) {
        state.sets.extend(self.new_sets.into_iter().map(|set| set.name));
        for StickyChain { chain, .. } in self.chains {
            state.chains.insert(chain.name, chain.rules.into_iter().map(|rule| rule.comment).collect());
        }
        if !retired {
            state.retired = self.retired;
            return;
        }
        state.retired = Retired::default();
        for chain in &self.retired.chains {
            state.chains.remove(chain);
        }
        for set in &self.retired.sets {
            state.sets.remove(set);
        }
    }
}

struct Builder<'a> {
    family: &'a Family,
    state: &'a State,
    lists: BTreeMap<Sticky, Wanted>,
    /// How the number of routes to a list changes.
    users: BTreeMap<Sticky, i64>,
    plan: AffinityPlan,
    /// Names of chains and sets that stay or come.
    kept: BTreeSet<String>,
}

impl Builder<'_> {
    fn group(&mut self, group: &Group) {
        let mut endpoints: BTreeMap<SocketAddr, Option<(Protocol, u64)>> = BTreeMap::new();
        let mut before = BTreeSet::new();
        let mut stickies = Vec::new();
        for sticky in group.stickies() {
            let held = self.state.chains.get(&sticky.chain());
            let held_list = held.map(|comments| listed(comments)).unwrap_or_default();
            before.extend(held_list.iter().copied());
            if !self.is_used(&sticky) {
                continue;
            }
            self.kept.insert(sticky.chain());
            match self.lists.get(&sticky) {
                Some(Wanted { endpoints: list, protocol, seconds }) => {
                    endpoints.extend(list.iter().map(|endpoint| (*endpoint, Some((*protocol, *seconds)))));
                    stickies.push(sticky_chain(self.family, &sticky, list));
                }
                // Not touched: as it is.
                None => held_list.into_iter().for_each(|endpoint| {
                    endpoints.entry(endpoint).or_default();
                }),
            }
        }
        endpoints.iter().for_each(|(endpoint, how)| self.endpoint(group, *endpoint, *how));
        stickies.into_iter().for_each(|chain| self.chain(chain));
        let all: Vec<String> = group.stickies().iter().map(Sticky::chain).collect();
        self.retire(all.into_iter().chain(before.iter().map(|endpoint| group.endpoint_chain(*endpoint))));
        self.retire_sets(before.iter().map(|endpoint| group.set(*endpoint)));
    }

    fn endpoint(&mut self, group: &Group, endpoint: SocketAddr, how: Option<(Protocol, u64)>) {
        let (set, chain) = (group.set(endpoint), group.endpoint_chain(endpoint));
        self.kept.extend([set.clone(), chain]);
        let Some((protocol, seconds)) = how else { return };
        if !self.state.sets.contains(&set) {
            let clients = self.state.remembered.get(&set).cloned().unwrap_or_default();
            self.plan.new_sets.push(NewSet { name: set, clients });
        }
        self.chain(endpoint_chain(self.family, group, endpoint, protocol, seconds));
    }

    fn chain(&mut self, chain: Chain) {
        let held = self.state.chains.get(&chain.name);
        let comments = chain.rules.iter().map(|rule| &rule.comment);
        if held.is_none_or(|held| !comments.eq(held)) {
            self.plan.chains.push(StickyChain { exists: held.is_some(), chain });
        }
    }

    fn is_used(&self, sticky: &Sticky) -> bool {
        let known = self.state.users.get(sticky).copied().unwrap_or(0);
        known + self.users.get(sticky).copied().unwrap_or(0) > 0
    }

    /// What nothing wants among these chains, if it is there.
    fn retire(&mut self, names: impl Iterator<Item = String>) {
        let state = self.state;
        let gone = names.filter(|name| state.chains.contains_key(name) && !self.kept.contains(name));
        self.plan.retired.chains.extend(gone);
    }

    fn retire_sets(&mut self, names: impl Iterator<Item = String>) {
        let state = self.state;
        let gone = names.filter(|name| state.sets.contains(name) && !self.kept.contains(name));
        self.plan.retired.sets.extend(gone);
    }

    /// What could not be deleted before; with `all`, also what nobody knows of.
    fn retire_known(&mut self, all: bool) {
        let (state, is_known) = (self.state, |name: &&String| all && is_chain(name));
        self.retire(state.retired.chains.iter().chain(state.chains.keys().filter(is_known)).cloned());
        self.retire_sets(state.retired.sets.iter().chain(state.sets.iter().filter(|_| all)).cloned());
        let Retired { chains, sets } = &mut self.plan.retired;
        chains.sort_unstable_by_key(|name| (Sticky::of_chain(name).is_none(), name.clone()));
        chains.dedup();
        sets.sort_unstable();
        sets.dedup();
    }
}
