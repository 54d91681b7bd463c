//! What the kernel holds of our table: as we last wrote it, or as it was read back.

mod held;
mod lines;
mod numbered;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

pub(super) use held::{External, Held, Route, Service};
pub(crate) use lines::lines;
pub(super) use numbered::Numbered;

use super::affinity::{Sticky, listed};
use super::expression::Verdict;
use super::number::Number;
use super::plan::Retired;
use super::rules::List;
use crate::forwarding_table::FrontendKey;

/// Stands behind the comments of a chain that is to be written anew; no rule has it.
const DOUBTED: &str = "";

/// Whether the table is there and ours to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Presence {
    /// No table.
    #[default]
    Absent,
    /// A table of another layout, or one that lacks a set: to be replaced.
    Other,
    /// A table of this layout.
    Ours,
}

/// Content of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    pub(super) presence: Presence,
    /// Comments of each chain's rules, by which rules are recognised.
    pub(super) chains: HashMap<String, Vec<String>>,
    /// What the map `chains` says for each number; `None` for what ours never say.
    pub(super) numbers: BTreeMap<Number, Option<Verdict>>,
    pub(super) frontends: HashMap<FrontendKey, Held>,
    pub(super) service_ips: HashSet<IpAddr>,
    pub(super) hairpins: HashSet<IpAddr>,
    pub(super) answered: HashSet<FrontendKey>,
    pub(super) service_cidrs: BTreeSet<IpNet>,
    pub(super) pods: BTreeSet<IpNet>,
    /// Names of the sets of clients, see [`super::affinity`].
    pub(super) sets: BTreeSet<String>,
    /// How many routes lead to each sticky chain.
    pub(super) users: HashMap<Sticky, i64>,
    /// Chains and sets that nothing leads to, and that the kernel would not yet let go.
    pub(super) retired: Retired,
    /// Of a table that is to be replaced: whom its sets remember.
    pub(super) remembered: HashMap<String, Vec<Client>>,
}

/// A client that a set remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(super) address: IpAddr,
    /// For how long each new connection makes it remembered, in milliseconds.
    pub(super) timeout: u64,
    /// For how long it still is.
    pub(super) left: u64,
}

impl State {
    /// A table that is to be replaced; of what is in it, only whom it remembers matters.
    pub(super) fn other(remembered: HashMap<String, Vec<Client>>) -> Self {
        Self { presence: Presence::Other, remembered, ..Self::default() }
    }

    /// What takes the place of a table that is replaced: nothing but whom it remembers.
    pub(super) fn emptied(&self) -> Self {
        Self { remembered: self.remembered.clone(), ..Self::default() }
    }

    /// The same, with no chain's rules taken for what they say that they are.
    pub(crate) fn doubting_rules(mut self) -> Self {
        self.chains.values_mut().for_each(|comments| comments.push(DOUBTED.to_owned()));
        self
    }

    /// Counts a route that comes (1) or goes (-1).
    pub(super) fn count(&mut self, route: &Route, change: i64) {
        let Route::Sticky(sticky) = route else { return };
        let users = self.users.entry(sticky.clone()).or_default();
        *users += change;
        if *users <= 0 {
            self.users.remove(sticky);
        }
    }

    /// All endpoints that packets for a frontend may go to.
    pub(super) fn endpoints(&self, held: &Held) -> BTreeSet<SocketAddr> {
        let numbered = List::BOTH.into_iter().flat_map(|list| held.list(list).iter()).flatten();
        let sticky = held.routes().filter_map(|route| match route {
            Route::Sticky(sticky) => Some(listed(self.chains.get(&sticky.chain())?)),
            _ => None,
        });
        numbered.chain(sticky.flatten()).collect()
    }

    /// True for a balance chain that is there.
    pub(super) fn balances(&self, list: List, count: u32) -> bool {
        self.chains.contains_key(&list.chain_name(count))
    }
}
