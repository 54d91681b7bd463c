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

    fn apply(self, set: &mut HashSet<T>) {
        for member in self.removed {
            set.remove(&member);
        }
        set.extend(self.added);
    }

    fn apply_sorted(self, set: &mut BTreeSet<T>) {
        for member in self.removed {
            set.remove(&member);
        }
        set.extend(self.added);
    }
}

/// The sets of addresses and subnets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sets {
    pub(in crate::nftables) service_ips: Members<IpAddr>,
    pub(in crate::nftables) hairpins: Members<IpAddr>,
    pub(in crate::nftables) answered: Members<FrontendKey>,
    pub(in crate::nftables) service_cidrs: Members<IpNet>,
    pub(in crate::nftables) pods: Members<IpNet>,
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
        self.service_cidrs = subnets(family, &state.service_cidrs, facts.merged_cidrs());
        self.pods = subnets(family, &state.pods, facts.merged_pods());
    }

    pub(super) fn apply(self, state: &mut State) {
        self.service_ips.apply(&mut state.service_ips);
        self.hairpins.apply(&mut state.hairpins);
        self.answered.apply(&mut state.answered);
        self.service_cidrs.apply_sorted(&mut state.service_cidrs);
        self.pods.apply_sorted(&mut state.pods);
    }
}

fn subnets(family: &Family, held: &BTreeSet<IpNet>, wanted: Vec<IpNet>) -> Members<IpNet> {
    let wanted: BTreeSet<IpNet> = wanted.into_iter().collect();
    let all: BTreeSet<IpNet> = held.union(&wanted).copied().collect();
    Members::between(
        all.into_iter().filter(|cidr| family.contains(cidr.addr())),
        |cidr| held.contains(cidr),
        |cidr| wanted.contains(cidr),
    )
}
