//! What the table holds for one frontend.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use services::{Protocol, TrafficPolicy};

use super::Numbered;
use crate::forwarding_table::{Frontend, Kind, Masquerade, Target, attributes};
use crate::nftables::affinity::{Group, Sticky};
use crate::nftables::expression::Verdict;
use crate::nftables::message::clip;
use crate::nftables::number::Number;
use crate::nftables::rules::{BY_CLIENT, EXTERNAL, List, REFUSE};

/// Where a map sends a service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// To the chain for this number of endpoints in a list.
    Balance(List, u32),
    /// To the chain that knows where the client was before.
    Sticky(Sticky),
    /// To the chain that asks which Service remembers.
    ByClient,
    /// To the chain that asks where the client comes from.
    External,
    /// To the chain that refuses.
    Refuse,
    /// Nowhere.
    Drop,
    /// Somewhere that we never send it: somebody else's edit.
    Unknown,
}

impl Route {
    fn of(frontend: &Frontend, protocol: Protocol, list: List) -> Option<Self> {
        let (target, policy) = match list {
            List::All => (&frontend.target, frontend.policy),
            List::Outside => (frontend.outside.as_ref()?, TrafficPolicy::Local),
        };
        Some(match target {
            Target::Balance(_) if frontend.affinity.is_some() => {
                Self::Sticky(Sticky::new(Group::of(frontend, protocol), policy))
            }
            Target::Balance(endpoints) => {
                Self::Balance(list, u32::try_from(endpoints.len()).unwrap_or(u32::MAX))
            }
            Target::Refuse => Self::Refuse,
            Target::Drop => Self::Drop,
        })
    }

    pub(in crate::nftables) fn parse(verdict: Option<Verdict>) -> Self {
        match verdict {
            Some(Verdict::Drop) => Self::Drop,
            Some(Verdict::Goto(chain)) if chain == REFUSE => Self::Refuse,
            Some(Verdict::Goto(chain)) if chain == EXTERNAL => Self::External,
            Some(Verdict::Goto(chain)) if chain == BY_CLIENT => Self::ByClient,
            Some(Verdict::Goto(chain)) => {
                let balance = List::of_chain(&chain).map(|(list, count)| Self::Balance(list, count));
                let sticky = || Sticky::of_chain(&chain).map(Self::Sticky);
                balance.or_else(sticky).unwrap_or(Self::Unknown)
            }
            _ => Self::Unknown,
        }
    }

    pub(in crate::nftables) fn verdict(&self) -> Verdict {
        match self {
            Self::Balance(list, count) => Verdict::Goto(list.chain_name(*count)),
            Self::Sticky(sticky) => Verdict::Goto(sticky.chain()),
            Self::ByClient => Verdict::Goto(BY_CLIENT.to_owned()),
            Self::External => Verdict::Goto(EXTERNAL.to_owned()),
            Self::Refuse => Verdict::Goto(REFUSE.to_owned()),
            Self::Drop | Self::Unknown => Verdict::Drop,
        }
    }
}

impl Route {
    /// What the map of service ports says for it.
    pub(in crate::nftables) fn number(&self) -> Number {
        match self {
            Self::Balance(List::All, count) => Number::of_count(*count),
            Self::External => Number::EXTERNAL,
            Self::ByClient => Number::BY_CLIENT,
            Self::Refuse => Number::REFUSE,
            // The others are only reached by way of a chain that asks for the client.
            Self::Drop | Self::Unknown | Self::Sticky(_) | Self::Balance(List::Outside, _) => Number::DROP,
        }
    }

    pub(in crate::nftables) fn of_number(number: Option<Number>) -> Self {
        match number.map(|number| (number, number.count())) {
            Some((_, Some(count))) => Self::Balance(List::All, count),
            Some((Number::EXTERNAL, _)) => Self::External,
            Some((Number::BY_CLIENT, _)) => Self::ByClient,
            Some((Number::REFUSE, _)) => Self::Refuse,
            Some((Number::DROP, _)) => Self::Drop,
            _ => Self::Unknown,
        }
    }
}

/// An element of the services map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(in crate::nftables) route: Route,
    /// The Service's name and what the frontend is, kept as the element's comment: `default/web:http node-port`.
    pub(in crate::nftables) label: Box<str>,
}

impl Service {
    fn of(frontend: &Frontend, protocol: Protocol) -> Self {
        let external = frontend.outside.is_some() || !frontend.sources.is_empty();
        let route = match Route::of(frontend, protocol, List::All) {
            Some(Route::Sticky(_)) if !external => Route::ByClient,
            Some(plain) if !external => plain,
            _ => Route::External,
        };
        let label = frontend.owner() + &attributes(frontend.kind, &[], frontend.affinity);
        Self { route, label: clip(&label).into() }
    }

    /// The Service's name.
    pub(in crate::nftables) fn owner(&self) -> &str {
        self.label.split(' ').next().unwrap_or_default()
    }

    /// What the label says that the frontend is.
    pub(in crate::nftables) fn kind(&self) -> Kind {
        let kinds = [Kind::ExternalIp, Kind::LoadBalancer, Kind::NodePort];
        let said = |kind: &Kind| self.words().any(|word| word == kind.as_str());
        kinds.into_iter().find(said).unwrap_or(Kind::ClusterIp)
    }

    /// The timeout of session affinity that the label says.
    pub(in crate::nftables) fn affinity(&self) -> Option<Duration> {
        let seconds = self.words().find_map(|word| word.strip_prefix("affinity=")?.strip_suffix('s'))?;
        seconds.parse().ok().map(Duration::from_secs)
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        self.label.split(' ').skip(1)
    }
}

/// Elements of all sets and maps for one frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub(in crate::nftables) service: Option<Service>,
    pub(in crate::nftables) endpoints: Numbered,
    /// Those that only frontends beside ClusterIPs have, and those that remember clients; `None` when there are none of them.
    pub(in crate::nftables) external: Option<Box<External>>,
}

/// What is held of a frontend that is no plain ClusterIP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct External {
    pub(in crate::nftables) by_client: Option<Route>,
    pub(in crate::nftables) inside: Option<Route>,
    pub(in crate::nftables) outside: Option<Route>,
    /// Endpoints for connections from elsewhere.
    pub(in crate::nftables) endpoints: Numbered,
    pub(in crate::nftables) guarded: bool,
    /// First and last address of each range: one that is no subnet is somebody's edit.
    pub(in crate::nftables) sources: BTreeSet<(IpAddr, IpAddr)>,
    pub(in crate::nftables) masqueraded: bool,
    pub(in crate::nftables) masqueraded_own: bool,
    /// Filter chains refuse it.
    pub(in crate::nftables) refused: bool,
}

/// What is held of a frontend of which nothing is.
pub(in crate::nftables) static NOTHING: External = External {
    by_client: None,
    inside: None,
    outside: None,
    endpoints: Numbered::EMPTY,
    guarded: false,
    sources: BTreeSet::new(),
    masqueraded: false,
    masqueraded_own: false,
    refused: false,
};

impl External {
    fn of(frontend: &Frontend, protocol: Protocol, endpoints: Numbered, late_refusal: bool) -> Self {
        let refuses = frontend.kind != Kind::ClusterIp && frontend.target == Target::Refuse;
        let decides = frontend.outside.is_some() || !frontend.sources.is_empty();
        let all = Route::of(frontend, protocol, List::All);
        let is_sticky = matches!(all, Some(Route::Sticky(_)));
        Self {
            by_client: all.clone().filter(|_| is_sticky && !decides),
            inside: all.filter(|_| decides),
            outside: Route::of(frontend, protocol, List::Outside),
            endpoints,
            guarded: !frontend.sources.is_empty(),
            sources: frontend.sources.iter().map(|subnet| (subnet.network(), subnet.broadcast())).collect(),
            masqueraded: frontend.masquerade() == Masquerade::Always,
            masqueraded_own: frontend.masquerade() == Masquerade::Own,
            refused: refuses && late_refusal,
        }
    }
}

impl External {
    /// Adds what another set holds.
    pub(in crate::nftables) fn join(&mut self, other: Self) {
        self.by_client = self.by_client.take().or(other.by_client);
        self.inside = self.inside.take().or(other.inside);
        self.outside = self.outside.take().or(other.outside);
        if !other.endpoints.is_empty() {
            self.endpoints = self.endpoints.iter().chain(other.endpoints.iter()).collect();
        }
        self.guarded |= other.guarded;
        self.sources.extend(other.sources);
        self.masqueraded |= other.masqueraded;
        self.masqueraded_own |= other.masqueraded_own;
        self.refused |= other.refused;
    }
}

impl Held {
    /// What shall be held for a frontend, with its endpoints numbered so.
    pub(in crate::nftables) fn of(
        frontend: &Frontend,
        protocol: Protocol,
        [endpoints, outside]: [Numbered; 2],
        late_refusal: bool,
    ) -> Self {
        let external = External::of(frontend, protocol, outside, late_refusal);
        let external = Some(external).filter(|external| *external != NOTHING);
        let service = Some(Service::of(frontend, protocol));
        Self { service, endpoints, external: external.map(Box::new) }
    }

    pub(in crate::nftables) fn external(&self) -> &External {
        self.external.as_deref().unwrap_or(&NOTHING)
    }

    /// For reading back: makes room first.
    pub(in crate::nftables) fn external_mut(&mut self) -> &mut External {
        self.external.get_or_insert_with(Box::default)
    }

    pub(in crate::nftables) fn list(&self, list: List) -> &Numbered {
        match list {
            List::All => &self.endpoints,
            List::Outside => &self.external().endpoints,
        }
    }

    pub(in crate::nftables) fn list_mut(&mut self, list: List) -> &mut Numbered {
        match list {
            List::All => &mut self.endpoints,
            List::Outside => &mut self.external_mut().endpoints,
        }
    }

    /// Where its maps lead.
    pub(in crate::nftables) fn routes(&self) -> impl Iterator<Item = &Route> {
        let external = self.external();
        let service = self.service.as_ref().map(|service| &service.route);
        service.into_iter().chain(&external.by_client).chain(&external.inside).chain(&external.outside)
    }
}
