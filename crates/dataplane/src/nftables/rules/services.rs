//! Which service port is a packet for, who may use it, and which of its endpoints gets it?

use super::circumstances::Circumstances;
use super::load::{destination, destination_port, source};
use super::{BY_CLIENT, EXTERNAL, REFUSE};
use crate::nftables::expression::{Expression, LOCAL_ADDRESS, Verdict};
use crate::nftables::family::{Family, PROTOCOL};
use crate::nftables::message::{Chain, Rule};
use crate::nftables::set::{
    self, CHAINS, ENDPOINTS, ENDPOINTS_OUTSIDE, GUARDED, INSIDE, OUTSIDE, SERVICE_IPS, SERVICES, SOURCES,
};

/// The two lists of endpoints that a service port can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum List {
    /// For all connections, or for those from pods and this node.
    All,
    /// For connections from elsewhere, when they have a list of their own.
    Outside,
}

impl List {
    pub(crate) const BOTH: [Self; 2] = [Self::All, Self::Outside];

    /// The map of its endpoints.
    pub(in crate::nftables) fn map(self) -> &'static str {
        match self {
            Self::All => ENDPOINTS,
            Self::Outside => ENDPOINTS_OUTSIDE,
        }
    }

    /// The chain for service ports with `count` endpoints in this list.
    pub(in crate::nftables) fn chain_name(self, count: u32) -> String {
        match self {
            Self::All => format!("n{count}"),
            Self::Outside => format!("o{count}"),
        }
    }

    /// List and count of a balance chain's name.
    pub(in crate::nftables) fn of_chain(name: &str) -> Option<(Self, u32)> {
        let list = match name.as_bytes().first()? {
            b'n' => Self::All,
            b'o' => Self::Outside,
            _ => return None,
        };
        let count = name[1..].parse().ok().filter(|count| *count > 0)?;
        Some((list, count))
    }

    /// What becomes of a packet when the last endpoint has just gone.
    fn without_endpoints(self) -> Verdict {
        match self {
            Self::All => Verdict::Goto(REFUSE.to_owned()),
            // There are endpoints elsewhere.
            Self::Outside => Verdict::Drop,
        }
    }
}

/// Which of `count` endpoints? One at random; if it has just gone, the first; if that has, none is left.
pub(in crate::nftables) fn balance_chain(family: &Family, list: List, count: u32) -> Chain {
    let index = family.index_register();
    let mut pick = without_priority();
    pick.extend(destination_port(family));
    pick.extend([
        Expression::Random(index, count),
        Expression::Map(PROTOCOL, list.map(), PROTOCOL),
        Expression::Dnat(family.number.into(), PROTOCOL, PROTOCOL.after(family.address_length)),
    ]);
    let (next, why) = if count == 1 {
        (list.without_endpoints(), "the last endpoint has just gone")
    } else {
        (Verdict::Goto(list.chain_name(1)), "this number has just gone: the first")
    };
    let miss = Rule::new(why, vec![Expression::Verdict(next)]);
    Chain {
        name: list.chain_name(count),
        hook: None,
        rules: vec![Rule::new(format!("one of {count}"), pick), miss],
    }
}

/// Which service port, and how many endpoints has it? Undefined ports of a ClusterIP are refused. The priority carries
/// the number from one lookup to the next, see [`crate::nftables::number`].
pub(super) fn lookup(family: &Family) -> Vec<Rule> {
    let mut service = destination_port(family);
    service.extend([
        Expression::Map(PROTOCOL, SERVICES, PROTOCOL),
        Expression::SetPriority(PROTOCOL),
        Expression::Priority(PROTOCOL),
        Expression::VerdictMap(PROTOCOL, CHAINS),
    ]);
    let undefined = vec![
        destination(family, PROTOCOL),
        Expression::InSet(PROTOCOL, SERVICE_IPS),
        Expression::Verdict(Verdict::Goto(REFUSE.to_owned())),
    ];
    vec![Rule::new("a service port", service), Rule::new("no port of this service", undefined)]
}

/// Takes back the number that the priority carried.
fn without_priority() -> Vec<Expression> {
    vec![Expression::Immediate(PROTOCOL, vec![0; 4]), Expression::SetPriority(PROTOCOL)]
}

/// Which Service is it that remembers its clients?
pub(super) fn by_client(family: &Family) -> Chain {
    let mut service = without_priority();
    service.extend(ask(family, set::BY_CLIENT));
    let rules = vec![Rule::new("its list of endpoints", service), changed()];
    Chain { name: BY_CLIENT.to_owned(), hook: None, rules }
}

/// The service port needs no second look any more, but did when the packet was looked up.
fn changed() -> Rule {
    Rule::new(
        "has just changed: the first",
        vec![Expression::Verdict(Verdict::Goto(List::All.chain_name(1)))],
    )
}

/// Where does the client come from? Source ranges bind everyone; external policy
/// Local serves pods and this node as if they came by a load balancer that may choose any node.
pub(super) fn external(family: &Family, circumstances: &Circumstances) -> Chain {
    let mut guard = destination_port(family);
    guard.push(Expression::InSet(PROTOCOL, GUARDED));
    guard.extend(destination_port(family));
    guard.extend([
        source(family, family.source_register()),
        Expression::NotInSet(PROTOCOL, SOURCES),
        Expression::Verdict(Verdict::Drop),
    ]);
    let mut rules = vec![
        Rule::new("the service port is found", without_priority()),
        Rule::new("outside of the source ranges", guard),
    ];
    if let Some(pods) = &circumstances.pods {
        let mut from_pods = pods.matches(family);
        from_pods.extend(ask(family, INSIDE));
        rules.push(Rule::new(pods.comment(), from_pods));
    }
    let mut from_node = from_this_node();
    from_node.extend(ask(family, INSIDE));
    rules.extend([
        Rule::new("from this node", from_node),
        Rule::new("from elsewhere", ask(family, OUTSIDE)),
        Rule::new("from anywhere", ask(family, INSIDE)),
        changed(),
    ]);
    Chain { name: EXTERNAL.to_owned(), hook: None, rules }
}

/// Breaks unless the destination is an address of this host.
pub(super) fn to_this_node() -> Vec<Expression> {
    let kind = Expression::DestinationKind(PROTOCOL);
    vec![kind, Expression::Equal(PROTOCOL, LOCAL_ADDRESS.to_ne_bytes().to_vec())]
}

/// Breaks when it is.
pub(super) fn to_elsewhere() -> Vec<Expression> {
    let kind = Expression::DestinationKind(PROTOCOL);
    vec![kind, Expression::NotEqual(PROTOCOL, LOCAL_ADDRESS.to_ne_bytes().to_vec())]
}

/// Breaks unless the source is an address of this host.
pub(super) fn from_this_node() -> Vec<Expression> {
    vec![Expression::SourceKind(PROTOCOL), Expression::Equal(PROTOCOL, LOCAL_ADDRESS.to_ne_bytes().to_vec())]
}

/// Takes the verdict that a map has for the packet's destination.
fn ask(family: &Family, map: &'static str) -> Vec<Expression> {
    let mut expressions = destination_port(family);
    expressions.push(Expression::VerdictMap(PROTOCOL, map));
    expressions
}
