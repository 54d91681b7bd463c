//! What comes and goes of sets that hold no frontends.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::forwarding_table::{ForwardingTable, FrontendKey, TableChanges};
use crate::nftables::family::Family;
use crate::nftables::state::State;

/// Members that come and go of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Members<T> {
    pub(in crate::nftables) added: Vec<T>,
    pub(in crate::nftables) removed: Vec<T>,
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

    pub(super) fn all(&self) -> impl Iterator<Item = T> {
        self.added.iter().chain(&self.removed).copied()
    }

    fn apply(self, set: &mut HashSet<T>) {
        for member in self.removed {
            set.remove(&member);
        }
        set.extend(self.added);
    }
}

/// Subnets that come, after all that are there have gone when one of them is not wanted: what somebody else put there
/// may be no subnet at all, and is only known by the subnets that it covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Subnets {
    pub(in crate::nftables) flush: bool,
    pub(in crate::nftables) added: Vec<IpNet>,
}

impl Subnets {
    fn between(family: &Family, held: &BTreeSet<IpNet>, wanted: Vec<IpNet>) -> Self {
        let wanted: BTreeSet<IpNet> =
            wanted.into_iter().filter(|subnet| family.contains(subnet.addr())).collect();
        let flush = !held.is_subset(&wanted);
        let added = wanted.into_iter().filter(|subnet| flush || !held.contains(subnet)).collect();
        Self { flush, added }
    }

    fn apply(self, held: &mut BTreeSet<IpNet>) {
        if self.flush {
            held.clear();
        }
        held.extend(self.added);
    }
}

/// The sets of addresses and subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(in crate::nftables) service_ips: Members<IpAddr>,
    pub(in crate::nftables) hairpins: Members<IpAddr>,
    pub(in crate::nftables) answered: Members<FrontendKey>,
    pub(in crate::nftables) service_cidrs: Subnets,
    pub(in crate::nftables) pods: Subnets,
}

impl Sets {
    pub(super) fn new(
        family: &Family,
        state: &State,
        table: &ForwardingTable,
        touched: &TableChanges,
    ) -> Self {
        let of_family = |address: &IpAddr| family.contains(*address);
        let mut sets = Self {
            service_ips: Members::between(
                touched.addresses.iter().copied().filter(of_family),
                |address| state.service_ips.contains(address),
                |address| table.is_address(*address),
            ),
            hairpins: Members::between(
                touched.hairpins.iter().copied().filter(of_family),
                |address| state.hairpins.contains(address),
                |address| table.is_hairpin(*address),
            ),
            ..Self::default()
        };
        if touched.facts {
            sets.facts(family, state, table);
        }
        sets
    }

    fn facts(&mut self, family: &Family, state: &State, table: &ForwardingTable) {
        let facts = table.facts();
        let keys: BTreeSet<FrontendKey> = state.answered.iter().chain(&facts.answered).copied().collect();
        self.answered = Members::between(
            keys.into_iter().filter(|key| family.contains(key.address)),
            |key| state.answered.contains(key),
            |key| facts.answered.contains(key),
        );
        self.service_cidrs = Subnets::between(family, &state.service_cidrs, facts.merged_cidrs());
        self.pods = Subnets::between(family, &state.pods, facts.merged_pods());
    }

    pub(super) fn apply(self, state: &mut State) {
        self.service_ips.apply(&mut state.service_ips);
        self.hairpins.apply(&mut state.hairpins);
        self.answered.apply(&mut state.answered);
        self.service_cidrs.apply(&mut state.service_cidrs);
        self.pods.apply(&mut state.pods);
    }
}
