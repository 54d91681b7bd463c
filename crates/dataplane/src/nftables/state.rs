//! What the kernel holds of our table: as we last wrote it, or as it was read back.

mod held;
mod lines;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use ipnet::IpNet;

pub(super) use held::{External, Held, Numbered, Route, Service};
pub(crate) use lines::lines;

use super::rules::List;
use crate::forwarding_table::FrontendKey;

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
    pub(super) frontends: HashMap<FrontendKey, Held>,
    pub(super) service_ips: HashSet<IpAddr>,
    pub(super) hairpins: HashSet<IpAddr>,
    pub(super) answered: HashSet<FrontendKey>,
    pub(super) service_cidrs: BTreeSet<IpNet>,
    pub(super) pods: BTreeSet<IpNet>,
}

impl State {
    /// A table that is to be replaced; what is in it does not matter.
    pub(super) fn other() -> Self {
        Self { presence: Presence::Other, ..Self::default() }
    }

    /// True for a balance chain that is there.
    pub(super) fn balances(&self, list: List, count: u32) -> bool {
        self.chains.contains_key(&list.chain_name(count))
    }
}
