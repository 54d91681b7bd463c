//! Which endpoints of a Service port take new connections.
//!
//! Ready ones; if none is, those that still serve while terminating (KEP-1669). With policy Local the same, judged
//! among this node's own. Endpoints match by the *name* of the port and by IP family; an address and port that
//! several slices list counts once, in its best condition (a pod moves between slices without a gap).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use services::{Endpoint, Service, ServicePort, ServiceState, TrafficPolicy};

use super::{NodeFacts, Target};

/// The target with the addresses in it that are, or may be, on this node.
pub(super) struct Selected {
    pub(super) target: Target,
    pub(super) local: Box<[IpAddr]>,
}

/// How willing an endpoint is to take a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Condition {
    Unusable,
    Terminating,
    Ready,
}

/// An endpoint as joined from all slices.
#[derive(Clone, Copy)]
struct Candidate {
    condition: Condition,
    runs_here: bool,
    may_run_here: bool,
}

type Candidates = BTreeMap<SocketAddr, Candidate>;

pub(super) fn select(
    facts: &NodeFacts,
    service: &Service,
    port: &ServicePort,
    state: &ServiceState,
    address: IpAddr,
) -> Selected {
    let candidates = candidates(facts, port, state, address);
    let anywhere = usable(&candidates, |_| true);
    let chosen = match service.internal_policy {
        TrafficPolicy::Cluster => anywhere,
        TrafficPolicy::Local => {
            let here = usable(&candidates, |candidate| candidate.runs_here);
            if here.is_empty() && !anywhere.is_empty() {
                return Selected { target: Target::Drop, local: Box::default() };
            }
            here
        }
    };
    if chosen.is_empty() {
        return Selected { target: Target::Refuse, local: Box::default() };
    }
    let mut local: Vec<IpAddr> = chosen
        .iter()
        .filter(|endpoint| candidates[*endpoint].may_run_here)
        .map(|endpoint| endpoint.ip())
        .collect();
    local.dedup();
    Selected { target: Target::Balance(chosen.into()), local: local.into() }
}

fn candidates(facts: &NodeFacts, port: &ServicePort, state: &ServiceState, address: IpAddr) -> Candidates {
    let mut candidates = Candidates::new();
    for slice in state.slices.values() {
        let matching =
            slice.ports.iter().filter(|other| other.name == port.name && other.protocol == port.protocol);
        for number in matching.map(|matching| matching.port) {
            let family =
                slice.endpoints.iter().filter(|endpoint| endpoint.address.is_ipv4() == address.is_ipv4());
            for endpoint in family {
                join(&mut candidates, SocketAddr::new(endpoint.address, number), candidate(facts, endpoint));
            }
        }
    }
    candidates
}

fn candidate(facts: &NodeFacts, endpoint: &Endpoint) -> Candidate {
    let condition = match (endpoint.ready, endpoint.serving && endpoint.terminating) {
        (true, _) => Condition::Ready,
        (false, true) => Condition::Terminating,
        (false, false) => Condition::Unusable,
    };
    Candidate {
        condition,
        runs_here: facts.runs(endpoint.node.as_ref()),
        may_run_here: facts.may_run(endpoint.node.as_ref()),
    }
}

fn join(candidates: &mut Candidates, address: SocketAddr, new: Candidate) {
    let known = candidates.entry(address).or_insert(new);
    known.condition = known.condition.max(new.condition);
    known.runs_here |= new.runs_here;
    known.may_run_here |= new.may_run_here;
}

/// The ready ones among those that count; if there are none, the terminating ones.
fn usable(candidates: &Candidates, counts: impl Fn(&Candidate) -> bool) -> Vec<SocketAddr> {
    let in_condition = |condition| {
        let matching =
            candidates.iter().filter(|(_, candidate)| candidate.condition == condition && counts(candidate));
        matching.map(|(address, _)| *address).collect::<Vec<_>>()
    };
    let ready = in_condition(Condition::Ready);
    if ready.is_empty() { in_condition(Condition::Terminating) } else { ready }
}
