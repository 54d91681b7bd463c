//! Reads our table back from the kernel.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};

use super::affinity;
use super::counter::Count;
use super::element::{
    Element, Found, NFTA_LIST_ELEM, NFTA_SET_ELEM_LIST_ELEMENTS, NFTA_SET_ELEM_LIST_SET,
    NFTA_SET_ELEM_LIST_TABLE, service_key,
};
use super::expression::Verdict;
use super::message::{
    GETCHAIN, GETRULE, GETSET, GETSETELEM, GETTABLE, Layout, NEWCHAIN, NEWRULE, NEWSET, NEWSETELEM, NEWTABLE,
    NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_TABLE, NFTA_RULE_USERDATA,
    NFTA_TABLE_FLAGS, NFTA_TABLE_NAME, NFTA_TABLE_USERDATA, PERSIST, SUBSYSTEM, read_comment,
};
use super::number::Number;
use super::rules::List;
use super::set::{
    ANSWERED, BY_CLIENT, CHAINS, GUARDED, HAIRPINS, INSIDE, MASQUERADED, MASQUERADED_OWN, OUTSIDE, PODS,
    REFUSED, SERVICE_CIDRS, SERVICE_IPS, SERVICES, SOURCES,
};
use super::state::{External, Presence, Route, Service, State};
use crate::forwarding_table::FrontendKey;
use crate::netlink::{Batch, DUMP, Error, Received, Socket, Writer, request};

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_KEY_TYPE: u16 = 4;
/// More endpoints than any service can have: a number beyond is somebody's edit and is left out.
const HIGHEST_NUMBER: u32 = 1 << 20;

/// The table as the kernel holds it now.
pub(crate) fn read(socket: &mut Socket, layout: &Layout) -> Result<State, Error> {
    let mut reader = Reader { socket, layout };
    match reader.table()? {
        None => Ok(State::default()),
        Some(table) if table.comment != Layout::comment() => reader.replaced_one(),
        Some(_) => reader.contents(),
    }
}

/// The table as it is, after becoming its owner where tables can be owned: no one else can change it from then on.
/// One that cannot be owned because nobody ever did (it was made by hand) is to be replaced.
pub(crate) fn take_over(socket: &mut Socket, layout: &Layout) -> Result<State, Error> {
    let mut reader = Reader { socket, layout };
    let Some(table) = reader.table()? else { return Ok(State::default()) };
    if layout.owned {
        if table.flags & PERSIST == 0 {
            return reader.replaced_one();
        }
        let mut batch = Batch::new(SUBSYSTEM);
        layout.new_table(&mut batch);
        socket.transact(&mut batch)?;
    }
    read(socket, layout)
}

/// How many connections were made to each service port of the table, in no order; none when there is no table.
pub(crate) fn connections(socket: &mut Socket, layout: &Layout) -> Result<Vec<(FrontendKey, u64)>, Error> {
    let family = layout.family;
    let counted = Reader { socket, layout }
        .elements(SERVICES, |element| Some((element.service(family)?, element.count?.packets)));
    match counted {
        Err(error) if matches!(error.errno(), Some(libc::ENOENT | libc::EAFNOSUPPORT)) => Ok(Vec::new()),
        counted => counted,
    }
}

/// What has been counted for these service ports, which are few. One that is not there says nothing of those behind it.
pub(super) fn counts(
    socket: &mut Socket,
    layout: &Layout,
    keys: &[FrontendKey],
) -> HashMap<FrontendKey, Count> {
    let elements: Vec<Element> = keys.iter().map(|key| Element::key(service_key(key))).collect();
    let request = request(layout.header(GETSETELEM, 0), |writer| {
        layout.name_elements(writer, SERVICES, &elements);
    });
    let mut counts = HashMap::new();
    let read = socket.get("what was counted", &request, |message| {
        let list = message.attributes().nested(NFTA_SET_ELEM_LIST_ELEMENTS);
        for (_, element) in list.filter(|(kind, _)| *kind == NFTA_LIST_ELEM) {
            let found = Found::parse(element);
            counts.extend(found.and_then(|found| Some((found.service(layout.family)?, found.count?))));
        }
    });
    if let Err(error) = read {
        tracing::debug!(error = &error as &dyn std::error::Error, "connections are counted anew");
    }
    counts
}

/// True when there is a table of this name.
pub(super) fn exists(socket: &mut Socket, layout: &Layout) -> Result<bool, Error> {
    Ok(Reader { socket, layout }.table()?.is_some())
}

/// What the table itself says.
struct Table {
    comment: String,
    flags: u32,
}

struct Reader<'a> {
    socket: &'a mut Socket,
    layout: &'a Layout,
}

impl Reader<'_> {
    fn collect<T>(
        &mut self,
        what: &str,
        ask: u16,
        answer: u16,
        write: impl FnOnce(&mut Writer),
        mut parse: impl FnMut(&Received<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let request = request(self.layout.header(ask, DUMP), write);
        self.socket.collect(what, &request, |message| {
            if message.kind == SUBSYSTEM << 8 | answer { parse(message) } else { None }
        })
    }

    /// The table itself, `None` when there is none.
    fn table(&mut self) -> Result<Option<Table>, Error> {
        let name = self.layout.table;
        let found = self.collect(
            "the list of tables",
            GETTABLE,
            NEWTABLE,
            |_| (),
            |message| {
                let table = message.attributes();
                let comment = table.get(NFTA_TABLE_USERDATA).and_then(read_comment).unwrap_or_default();
                let flags = table.u32(NFTA_TABLE_FLAGS).unwrap_or(0);
                (table.text(NFTA_TABLE_NAME) == Some(name))
                    .then(|| Table { comment: comment.to_owned(), flags })
            },
        )?;
        Ok(found.into_iter().next())
    }

    /// All that is in the table, if it has the sets of our layout.
    fn contents(&mut self) -> Result<State, Error> {
        let sets = self.sets()?;
        if !self.layout.sets().all(|set| sets.get(set.name) == Some(&set.key_type(self.layout.family))) {
            return self.replaced_one();
        }
        let refuses_late = sets.contains_key(REFUSED);
        let sets = sets.into_keys().filter(|name| affinity::is_set(name)).collect();
        let mut state = State { presence: Presence::Ours, chains: self.chains()?, sets, ..State::default() };
        state.numbers = self.numbers()?;
        self.services(&mut state)?;
        for list in List::BOTH {
            self.endpoints(&mut state, list)?;
        }
        self.externals(&mut state)?;
        if refuses_late {
            self.each(&mut state, REFUSED, |_, external| external.refused = true)?;
        }
        self.members(&mut state)?;
        let routes: Vec<Route> =
            state.frontends.values().flat_map(|held| held.routes().cloned().collect::<Vec<_>>()).collect();
        routes.iter().for_each(|route| state.count(route, 1));
        Ok(state)
    }

    /// A table that is not as ours are now. Whom it remembers is kept, under the names that sets of clients have in
    /// every layout.
    fn replaced_one(&mut self) -> Result<State, Error> {
        let family = self.layout.family;
        let mut remembered = HashMap::new();
        for (name, _) in self.sets()?.into_iter().filter(|(name, _)| affinity::is_set(name)) {
            let clients = self.elements(&name, |element| element.client(family))?;
            remembered.insert(name, clients);
        }
        Ok(State::other(remembered))
    }

    /// Names and key types of the table's sets.
    fn sets(&mut self) -> Result<HashMap<String, u32>, Error> {
        let name = self.layout.table;
        let ask = |writer: &mut Writer| writer.text(NFTA_SET_TABLE, name);
        let found = self.collect("the list of sets", GETSET, NEWSET, ask, |message| {
            let set = message.attributes();
            let ours = set.text(NFTA_SET_TABLE) == Some(name);
            ours.then_some((set.text(NFTA_SET_NAME)?.to_owned(), set.u32(NFTA_SET_KEY_TYPE)?))
        })?;
        Ok(found.into_iter().collect())
    }

    /// The table's chains with the comments of their rules.
    fn chains(&mut self) -> Result<HashMap<String, Vec<String>>, Error> {
        let name = self.layout.table;
        let chains = self.collect(
            "the list of chains",
            GETCHAIN,
            NEWCHAIN,
            |_| (),
            |message| {
                let chain = message.attributes();
                let ours = chain.text(NFTA_CHAIN_TABLE) == Some(name);
                ours.then_some((chain.text(NFTA_CHAIN_NAME)?.to_owned(), Vec::new()))
            },
        )?;
        let mut chains: HashMap<String, Vec<String>> = chains.into_iter().collect();
        let ask = |writer: &mut Writer| writer.text(NFTA_RULE_TABLE, name);
        let rules = self.collect("the list of rules", GETRULE, NEWRULE, ask, |message| {
            let rule = message.attributes();
            let comment = rule.get(NFTA_RULE_USERDATA).and_then(read_comment).unwrap_or_default();
            let ours = rule.text(NFTA_RULE_TABLE) == Some(name);
            ours.then_some((rule.text(NFTA_RULE_CHAIN)?.to_owned(), comment.to_owned()))
        })?;
        for (chain, comment) in rules {
            chains.entry(chain).or_default().push(comment);
        }
        Ok(chains)
    }

    fn elements<T>(
        &mut self,
        set: &str,
        mut parse: impl FnMut(&Found<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        let table = self.layout.table;
        let ask = |writer: &mut Writer| {
            writer.text(NFTA_SET_ELEM_LIST_TABLE, table);
            writer.text(NFTA_SET_ELEM_LIST_SET, set);
        };
        let what = format!("the elements of {set}");
        let lists = self.collect(&what, GETSETELEM, NEWSETELEM, ask, |message| {
            let list = message.attributes().nested(NFTA_SET_ELEM_LIST_ELEMENTS);
            let elements = list.filter(|(kind, _)| *kind == NFTA_LIST_ELEM);
            let parsed = elements.filter_map(|(_, element)| parse(&Found::parse(element)?));
            Some(parsed.collect::<Vec<T>>())
        })?;
        Ok(lists.into_iter().flatten().collect())
    }

    fn numbers(&mut self) -> Result<BTreeMap<Number, Option<Verdict>>, Error> {
        let found =
            self.elements(CHAINS, |element| Some((Number::of_bytes(element.key)?, element.verdict.clone())))?;
        Ok(found.into_iter().collect())
    }

    fn services(&mut self, state: &mut State) -> Result<(), Error> {
        let family = self.layout.family;
        let found = self.elements(SERVICES, |element| {
            let service = Service {
                route: Route::of_number(Number::of_bytes(element.value)),
                label: element.comment.unwrap_or_default().into(),
            };
            Some((element.service(family)?, service))
        })?;
        for (key, service) in found {
            state.frontends.entry(key).or_default().service = Some(service);
        }
        Ok(())
    }

    fn endpoints(&mut self, state: &mut State, list: List) -> Result<(), Error> {
        let family = self.layout.family;
        let found = self.elements(list.map(), |element| {
            Some((element.service(family)?, element.number(family)?, element.endpoint(family)?))
        })?;
        let mut lists: HashMap<FrontendKey, Vec<Option<SocketAddr>>> = HashMap::new();
        for (key, number, endpoint) in found.into_iter().filter(|(_, number, _)| *number < HIGHEST_NUMBER) {
            let endpoints = lists.entry(key).or_default();
            let index = number as usize;
            if endpoints.len() <= index {
                endpoints.resize(index + 1, None);
            }
            endpoints[index] = Some(endpoint);
        }
        for (key, endpoints) in lists {
            *state.frontends.entry(key).or_default().list_mut(list) = endpoints.into_iter().collect();
        }
        Ok(())
    }

    /// What only frontends beside ClusterIPs have.
    fn externals(&mut self, state: &mut State) -> Result<(), Error> {
        let family = self.layout.family;
        self.each(state, BY_CLIENT, |element, external| {
            external.by_client = Some(Route::parse(element.verdict.clone()));
        })?;
        self.each(state, INSIDE, |element, external| {
            external.inside = Some(Route::parse(element.verdict.clone()));
        })?;
        self.each(state, OUTSIDE, |element, external| {
            external.outside = Some(Route::parse(element.verdict.clone()));
        })?;
        self.each(state, GUARDED, |_, external| external.guarded = true)?;
        self.each(state, MASQUERADED, |_, external| external.masqueraded = true)?;
        self.each(state, MASQUERADED_OWN, |_, external| external.masqueraded_own = true)?;
        self.each(state, SOURCES, |element, external| {
            external.sources.extend(element.sources(family));
        })
    }

    /// Takes each element of a set of service ports into what is held of its frontend.
    fn each(
        &mut self,
        state: &mut State,
        set: &str,
        mut take: impl FnMut(&Found<'_>, &mut External),
    ) -> Result<(), Error> {
        let family = self.layout.family;
        let found = self.elements(set, |element| {
            let mut external = External::default();
            take(element, &mut external);
            Some((element.service(family)?, external))
        })?;
        for (key, external) in found {
            state.frontends.entry(key).or_default().external_mut().join(external);
        }
        Ok(())
    }

    fn members(&mut self, state: &mut State) -> Result<(), Error> {
        let family = self.layout.family;
        let address = |element: &Found<'_>| family.address(element.key);
        state.service_ips = self.elements(SERVICE_IPS, address)?.into_iter().collect();
        state.hairpins = self.elements(HAIRPINS, address)?.into_iter().collect();
        state.answered = self.elements(ANSWERED, |element| element.service(family))?.into_iter().collect();
        state.service_cidrs = self.subnets(SERVICE_CIDRS)?;
        state.pods = self.subnets(PODS)?;
        Ok(())
    }

    fn subnets(&mut self, set: &str) -> Result<BTreeSet<IpNet>, Error> {
        let family = self.layout.family;
        let bounds =
            self.elements(set, |element| Some((family.address(element.key)?, element.interval_end)))?;
        Ok(subnets(bounds))
    }
}

/// Subnets from the bounds of intervals, which the kernel lists in no promised order.
fn subnets(bounds: Vec<(IpAddr, bool)>) -> BTreeSet<IpNet> {
    let ends: BTreeSet<IpAddr> = bounds.iter().filter(|(_, end)| *end).map(|(address, _)| *address).collect();
    let starts = bounds.into_iter().filter(|(_, end)| !*end).map(|(address, _)| address);
    starts
        .flat_map(|start| interval(start, ends.range(start..).find(|end| **end != start).copied()))
        .collect()
}

fn interval(start: IpAddr, behind: Option<IpAddr>) -> Vec<IpNet> {
    let last = match (start, behind) {
        (_, Some(IpAddr::V4(behind))) => IpAddr::V4(Ipv4Addr::from(u32::from(behind).saturating_sub(1))),
        (_, Some(IpAddr::V6(behind))) => IpAddr::V6(Ipv6Addr::from(u128::from(behind).saturating_sub(1))),
        (IpAddr::V4(_), None) => IpAddr::V4(Ipv4Addr::BROADCAST),
        (IpAddr::V6(_), None) => IpAddr::V6(Ipv6Addr::from(u128::MAX)),
    };
    range_subnets(start, last)
}

/// The subnets of which a range consists: one, unless somebody else made it.
pub(super) fn range_subnets(first: IpAddr, last: IpAddr) -> Vec<IpNet> {
    match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
        (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_subnets_again() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let bounds = vec![
            (address("10.97.0.0"), true),
            (address("240.0.0.0"), false),
            (address("10.96.0.0"), false),
            (address("172.20.0.0"), true),
            (address("172.16.0.0"), false),
        ];
        let expected = ["10.96.0.0/16", "172.16.0.0/14", "240.0.0.0/4"].map(|text| text.parse().unwrap());
        assert_eq!(subnets(bounds), BTreeSet::from(expected));
        let bounds =
            vec![(address("fd00::"), false), (address("fd00::1:0"), true), (address("ff00::"), false)];
        let expected = ["fd00::/112", "ff00::/8"].map(|text| text.parse().unwrap());
        assert_eq!(subnets(bounds), BTreeSet::from(expected));
    }
}
