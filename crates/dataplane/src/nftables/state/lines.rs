//! The content of our tables as text, in the format of [`crate::forwarding_table::ForwardingTable::lines`]. What that
//! could not say is a fault and is said in words.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::held::{External, Held, Route, Service};
use super::{Presence, State};
use crate::forwarding_table::{
    FrontendKey, Kind, NodeFacts, Pods, Target, answered, attributes, fact_lines, line, targets,
};
use crate::nftables::affinity::{Sticky, is_chain, listed};
use crate::nftables::family::{Family, IPV4, IPV6};
use crate::nftables::message::Chain;
use crate::nftables::number::Number;
use crate::nftables::plan::NumberPlan;
use crate::nftables::readback::range_subnets;
use crate::nftables::rules::{
    Circumstances, FromPods, List, REJECT, balance_chain, endpoint_chain, fixed_chains, sticky_chain,
};

/// Both families' tables as one text; a family without a table says nothing.
pub(crate) fn lines(tables: &[(&Family, State)]) -> Vec<String> {
    let ours: Vec<_> = tables.iter().filter(|(_, state)| state.presence == Presence::Ours).collect();
    let frontends: BTreeMap<FrontendKey, String> =
        ours.iter().flat_map(|(_, state)| state.entries()).collect();
    let faults = ours.iter().flat_map(|(family, state)| state.faults(family));
    let hairpins: BTreeSet<_> = ours.iter().flat_map(|(_, state)| &state.hairpins).collect();
    let mut lines: Vec<String> = frontends.into_values().chain(faults).collect();
    lines.extend(hairpins.into_iter().map(|address| format!("hairpin {address}")));
    let facts: Vec<NodeFacts> = ours.iter().map(|(_, state)| state.facts()).collect();
    lines.extend(common_facts(&facts));
    lines
}

/// What the tables say of the node; where they say different things, something is wrong with one of them.
fn common_facts(tables: &[NodeFacts]) -> Vec<String> {
    let mut common = NodeFacts::default();
    let mut faults = Vec::new();
    for facts in tables {
        common.service_cidrs.extend(&facts.service_cidrs);
        common.masquerade_all |= facts.masquerade_all;
        match (&mut common.pods, &facts.pods) {
            (Pods::Cidrs(all), Pods::Cidrs(cidrs)) => all.extend(cidrs),
            (pods @ Pods::Unknown, other) => *pods = other.clone(),
            (_, Pods::Unknown) => {}
            (pods, other) if *pods == *other => {}
            _ => faults.push("fault: the families' tables tell pods in different ways".to_owned()),
        }
    }
    if tables.iter().any(|facts| facts.masquerade_all != common.masquerade_all) {
        faults.push("fault: only one family's table masquerades all".to_owned());
    }
    let by_interface = matches!(common.pods, Pods::Bridge(_) | Pods::InterfacePrefix(_));
    if by_interface && tables.iter().any(|facts| facts.pods == Pods::Unknown) {
        faults.push("fault: only one family's table tells pods".to_owned());
    }
    faults.extend(fact_lines(&common));
    faults
}

impl State {
    fn entries(&self) -> BTreeMap<FrontendKey, String> {
        let mut entries = BTreeMap::new();
        for (key, held) in &self.frontends {
            entries.extend(held.service.as_ref().map(|service| (*key, self.entry(key, held, service))));
        }
        for key in &self.answered {
            let otherwise = entries.remove(key);
            entries.insert(*key, answered(key, otherwise));
        }
        entries
    }

    fn entry(&self, key: &FrontendKey, held: &Held, service: &Service) -> String {
        let external = held.external();
        let sources: Vec<_> =
            external.sources.iter().flat_map(|(first, last)| range_subnets(*first, *last)).collect();
        let owner = service.owner().to_owned() + &attributes(service.kind(), &sources, service.affinity());
        if let Some(fault) = fault(held, service, self.refuses_late()) {
            return line(key, &owner, &Outcome::Fault(fault));
        }
        let (target, outside) = match &service.route {
            Route::ByClient => (external.by_client.as_ref(), None),
            Route::External => (external.inside.as_ref(), external.outside.as_ref()),
            route => (Some(route), None),
        };
        let target = target.map_or(Outcome::Fault("leads nowhere".to_owned()), |route| {
            self.outcome(key, held, service, route)
        });
        line(
            key,
            &owner,
            &targets(&target, outside.map(|route| self.outcome(key, held, service, route)).as_ref()),
        )
    }

    fn outcome(&self, key: &FrontendKey, held: &Held, service: &Service, route: &Route) -> Outcome {
        match (route, service.affinity()) {
            (Route::Refuse, _) => Outcome::Target(Target::Refuse),
            (Route::Drop, _) => Outcome::Target(Target::Drop),
            (Route::External | Route::ByClient, _) => {
                Outcome::Fault("it asks for the client twice".to_owned())
            }
            (Route::Unknown, _) => Outcome::Fault("a chain that is not ours".to_owned()),
            (Route::Balance(list, count), None) => {
                Outcome::of_list(held.list(*list).iter().collect(), *count)
            }
            (Route::Sticky(sticky), Some(timeout)) => self.remembering(key, sticky, timeout.as_secs()),
            (Route::Balance(..), Some(_)) => Outcome::Fault("its clients are not remembered".to_owned()),
            (Route::Sticky(_), None) => Outcome::Fault("its clients are remembered".to_owned()),
        }
    }

    /// The endpoints of a sticky chain, when all that belongs to it is there.
    fn remembering(&self, key: &FrontendKey, sticky: &Sticky, seconds: u64) -> Outcome {
        let family = if key.address.is_ipv4() { &IPV4 } else { &IPV6 };
        let endpoints = self.chains.get(&sticky.chain()).map(|comments| listed(comments)).unwrap_or_default();
        let chains = endpoints
            .iter()
            .map(|endpoint| endpoint_chain(family, &sticky.group, *endpoint, key.protocol, seconds))
            .chain([sticky_chain(family, sticky, &endpoints)]);
        if let Some(chain) = chains.rev().find(|chain| self.differs(chain)) {
            return Outcome::Fault(format!("chain {} has other rules", chain.name));
        }
        if let Some(endpoint) =
            endpoints.iter().find(|endpoint| !self.sets.contains(&sticky.group.set(**endpoint)))
        {
            return Outcome::Fault(format!("no clients are remembered for {endpoint}"));
        }
        if endpoints.is_empty() {
            return Outcome::Fault(format!("chain {} has no endpoints", sticky.chain()));
        }
        Outcome::Target(Target::Balance(endpoints.into()))
    }

    fn differs(&self, chain: &Chain) -> bool {
        let comments = chain.rules.iter().map(|rule| &rule.comment);
        self.chains.get(&chain.name).is_none_or(|found| !comments.eq(found))
    }

    /// Filter chains refuse, not nat chains.
    fn refuses_late(&self) -> bool {
        self.chains.contains_key(REJECT)
    }

    fn facts(&self) -> NodeFacts {
        let read = Circumstances::read(&self.chains);
        let pods = match read.pods {
            Some(FromPods::Bridge(name)) => Pods::Bridge(name),
            Some(FromPods::Interface(prefix)) => Pods::InterfacePrefix(prefix),
            Some(FromPods::ByAddress) => Pods::Cidrs(self.pods.clone()),
            None => Pods::Unknown,
        };
        NodeFacts {
            service_cidrs: self.service_cidrs.clone(),
            pods,
            masquerade_all: read.masquerade_all,
            ..NodeFacts::default()
        }
    }

    fn faults(&self, family: &Family) -> Vec<String> {
        let mut faults = self.address_faults();
        faults.extend(self.chain_faults(family));
        faults.extend(self.leftovers());
        if !self.pods.is_empty() && Circumstances::read(&self.chains).pods != Some(FromPods::ByAddress) {
            faults.insert("fault: subnets of pods that no rule asks for".to_owned());
        }
        faults.into_iter().collect()
    }

    /// ClusterIPs without a frontend, frontends without their ClusterIP.
    fn address_faults(&self) -> BTreeSet<String> {
        let is_cluster_ip =
            |held: &Held| held.service.as_ref().is_some_and(|service| service.kind() == Kind::ClusterIp);
        let with_ports: HashSet<IpAddr> = self
            .frontends
            .iter()
            .filter(|(_, held)| is_cluster_ip(held))
            .map(|(key, _)| key.address)
            .collect();
        let extra =
            self.service_ips.difference(&with_ports).map(|ip| format!("fault: {ip} has no service port"));
        let missing = with_ports
            .difference(&self.service_ips)
            .map(|ip| format!("fault: undefined ports of {ip} are not refused"));
        extra.chain(missing).collect()
    }

    /// Elements that no packet is led to.
    fn leftovers(&self) -> BTreeSet<String> {
        let unused = |held: &Held| {
            let leads =
                |list: List| held.routes().any(|route| matches!(route, Route::Balance(to, _) if *to == list));
            List::BOTH.into_iter().any(|list| !held.list(list).is_empty() && !leads(list))
                || (held.service.is_none() && held.external.is_some())
        };
        let keys = self.frontends.iter().filter(|(_, held)| unused(held)).map(|(key, _)| key);
        let elements = keys.map(|key| format!("fault: elements for {key} that nothing leads to"));
        let used: HashSet<String> = self.users.keys().flat_map(|sticky| self.names(sticky)).collect();
        let chains = self.chains.keys().filter(|name| is_chain(name) && !used.contains(*name));
        let chains = chains.map(|name| format!("fault: chain {name} that nothing leads to"));
        let sets = self.sets.iter().filter(|name| !used.contains(*name));
        let sets = sets.map(|name| format!("fault: set {name} that nothing asks"));
        elements.chain(chains).chain(sets).collect()
    }

    /// Chains and sets of a list.
    fn names(&self, sticky: &Sticky) -> Vec<String> {
        let endpoints = self.chains.get(&sticky.chain()).map(|comments| listed(comments)).unwrap_or_default();
        let group = &sticky.group;
        let theirs =
            endpoints.into_iter().flat_map(|endpoint| [group.endpoint_chain(endpoint), group.set(endpoint)]);
        theirs.chain([sticky.chain()]).collect()
    }

    /// Chains that differ from what ours do.
    fn chain_faults(&self, family: &Family) -> BTreeSet<String> {
        let mut wanted = fixed_chains(family, &Circumstances::read(&self.chains));
        let routes: BTreeSet<(List, u32)> = self
            .frontends
            .values()
            .flat_map(Held::routes)
            .filter_map(|route| match route {
                Route::Balance(list, count) => Some((*list, *count)),
                _ => None,
            })
            .collect();
        wanted.extend(routes.into_iter().map(|(list, count)| balance_chain(family, list, count)));
        let faulty = wanted.iter().filter(|chain| self.differs(chain));
        let faulty = faulty.map(|chain| format!("fault: chain {} of {family} has other rules", chain.name));
        faulty.chain(self.number_faults(family)).collect()
    }

    /// Numbers that do not lead to their chain, or whose chain is not there.
    fn number_faults(&self, family: &Family) -> Vec<String> {
        let NumberPlan { added, removed } = NumberPlan::new(self, &[], true);
        let astray: BTreeSet<Number> = added.into_iter().chain(removed).collect();
        astray.into_iter().map(|number| format!("fault: number {number} of {family} leads astray")).collect()
    }
}

/// What contradicts itself in the elements of one frontend.
fn fault(held: &Held, service: &Service, late_refusal: bool) -> Option<String> {
    let (external, kind) = (held.external(), service.kind());
    let is_external = service.route == Route::External;
    let External {
        by_client, inside, outside, guarded, sources, masqueraded, masqueraded_own, refused, ..
    } = external;
    let own = kind != Kind::ClusterIp && outside.is_some();
    let always = kind != Kind::ClusterIp && outside.is_none();
    let fault = if !is_external && (inside.is_some() || outside.is_some() || *guarded) {
        "it does not depend on the client, but there is what would decide"
    } else if (service.route == Route::ByClient) != by_client.is_some() {
        "it remembers its clients, but not where, or the other way round"
    } else if *guarded == sources.is_empty() {
        "its source ranges are not asked for, or there are none"
    } else if (*masqueraded, *masqueraded_own) != (always, own) {
        "the wrong connections are masqueraded"
    } else if *refused
        != (late_refusal && kind != Kind::ClusterIp && held.routes().any(|route| *route == Route::Refuse))
    {
        "filter chains refuse it, or should"
    } else {
        return None;
    };
    Some(fault.to_owned())
}

/// What a line says of a frontend.
enum Outcome {
    Target(Target),
    Fault(String),
}

impl Outcome {
    fn of_list(endpoints: Vec<Option<SocketAddr>>, count: u32) -> Self {
        let mut found: Vec<SocketAddr> = endpoints.iter().take(count as usize).flatten().copied().collect();
        found.sort_unstable();
        if found.len() != count as usize || endpoints.len() != count as usize {
            return Self::Fault(format!("{} of {count} endpoints: {endpoints:?}", found.len()));
        }
        Self::Target(Target::Balance(found.into()))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => target.fmt(f),
            Self::Fault(text) => write!(f, "fault: {text}"),
        }
    }
}
