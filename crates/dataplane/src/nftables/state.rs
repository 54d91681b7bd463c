//! What the kernel holds of our table: as we last wrote it, or as it was read back.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::expression::Verdict;
use super::rules::{REFUSE, balance_count, balance_name};
use crate::forwarding_table::{FrontendKey, Target, line};

/// Where the services map sends a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the chain for this number of endpoints.
    Balance(u32),
    /// To the chain that refuses.
    Refuse,
    /// Nowhere.
    Drop,
    /// Somewhere that we never send it: somebody else's edit.
    Unknown,
}

impl Route {
    pub(super) fn of(target: &Target) -> Self {
        match target {
            Target::Balance(endpoints) => Self::Balance(u32::try_from(endpoints.len()).unwrap_or(u32::MAX)),
            Target::Refuse => Self::Refuse,
            Target::Drop => Self::Drop,
        }
    }

    pub(super) fn parse(verdict: Option<Verdict>) -> Self {
        match verdict {
            Some(Verdict::Drop) => Self::Drop,
            Some(Verdict::Goto(chain)) if chain == REFUSE => Self::Refuse,
            Some(Verdict::Goto(chain)) => balance_count(&chain).map_or(Self::Unknown, Self::Balance),
            _ => Self::Unknown,
        }
    }

    pub(super) fn verdict(self) -> Verdict {
        match self {
            Self::Balance(count) => Verdict::Goto(balance_name(count)),
            Self::Refuse => Verdict::Goto(REFUSE.to_owned()),
            Self::Drop | Self::Unknown => Verdict::Drop,
        }
    }
}

/// An element of the services map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(super) route: Route,
    /// The Service's name, kept as the element's comment.
    pub(super) owner: Box<str>,
}

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
    pub(super) services: HashMap<FrontendKey, Service>,
    /// Endpoints by number; a hole is a fault.
    pub(super) endpoints: HashMap<FrontendKey, Vec<Option<SocketAddr>>>,
    pub(super) service_ips: HashSet<IpAddr>,
    pub(super) hairpins: HashSet<IpAddr>,
    pub(super) answered: HashSet<FrontendKey>,
    pub(super) service_cidrs: BTreeSet<IpNet>,
}

impl State {
    /// A table that is to be replaced; what is in it does not matter.
    pub(super) fn other() -> Self {
        Self { presence: Presence::Other, ..Self::default() }
    }

    /// True for a balance chain that is there with rules in it.
    pub(super) fn balances(&self, count: u32) -> bool {
        self.chains.contains_key(&balance_name(count))
    }

    /// The content in the format of [`crate::forwarding_table::ForwardingTable::lines`]; what that could not say is a
    /// fault and is said in words.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut frontends = BTreeMap::new();
        for (key, service) in &self.services {
            frontends.insert(*key, line(key, &service.owner, &self.outcome(key, service.route)));
        }
        for key in &self.answered {
            let owner = self.services.get(key).map(|service| &*service.owner).unwrap_or_default();
            frontends.insert(*key, line(key, owner, &"local"));
        }
        let mut lines: Vec<String> = frontends.into_values().collect();
        lines.extend(self.address_faults());
        let hairpins: BTreeSet<_> = self.hairpins.iter().collect();
        lines.extend(hairpins.into_iter().map(|address| format!("hairpin {address}")));
        lines.extend(self.service_cidrs.iter().map(|cidr| format!("service-cidr {cidr}")));
        lines
    }

    fn outcome(&self, key: &FrontendKey, route: Route) -> Outcome {
        let endpoints = self.endpoints.get(key).map(Vec::as_slice).unwrap_or_default();
        let target = match route {
            Route::Refuse => Target::Refuse,
            Route::Drop => Target::Drop,
            Route::Unknown => return Outcome::Fault("a chain that is not ours".to_owned()),
            Route::Balance(count) => {
                let mut found: Vec<SocketAddr> =
                    endpoints.iter().take(count as usize).flatten().copied().collect();
                found.sort_unstable();
                if found.len() != count as usize || endpoints.len() != count as usize {
                    let text = format!("{} of {count} endpoints: {endpoints:?}", found.len());
                    return Outcome::Fault(text);
                }
                Target::Balance(found.into())
            }
        };
        Outcome::Target(target)
    }

    /// Virtual IPs without a frontend, frontends without their virtual IP.
    fn address_faults(&self) -> BTreeSet<String> {
        let with_ports: HashSet<IpAddr> = self.services.keys().map(|key| key.address).collect();
        let extra =
            self.service_ips.difference(&with_ports).map(|ip| format!("fault: {ip} has no service port"));
        let missing = with_ports
            .difference(&self.service_ips)
            .map(|ip| format!("fault: undefined ports of {ip} are not refused"));
        extra.chain(missing).collect()
    }
}

/// What a line says of a frontend.
enum Outcome {
    Target(Target),
    Fault(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => target.fmt(f),
            Self::Fault(text) => write!(f, "fault: {text}"),
        }
    }
}
