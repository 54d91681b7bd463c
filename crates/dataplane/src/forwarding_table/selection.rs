//! Which endpoints of a Service port take new connections.
//!
//! Ready ones; if none is, those that still serve while terminating (KEP-1669). With policy Local the same, judged
//! among this node's own. With policy Cluster topology hints narrow the ready ones (KEP-2433, KEP-4444). Endpoints
//! match by the *name* of the port and by IP family; an address and port that several slices list counts once, in its
//! best condition (a pod moves between slices without a gap), and never as the one that is terminating if another is not:
//! the address has passed to another pod.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use services::{Endpoint, ServicePort, ServiceState, TrafficPolicy};

use super::{NodeFacts, Target};

/// One Service port's endpoints in one family, as both policies see them.
pub(super) struct Selected {
    /// Policy Cluster's. Empty only when there is no endpoint anywhere.
    cluster: Arc<[SocketAddr]>,
    /// Policy Local's.
    local: Arc<[SocketAddr]>,
    /// Addresses in either that are, or may be, on this node.
    pub(super) here: Box<[IpAddr]>,
}

impl Selected {
    /// What connections that a policy applies to meet.
    pub(super) fn target(&self, policy: TrafficPolicy) -> Target {
        let list = match policy {
            TrafficPolicy::Cluster => &self.cluster,
            TrafficPolicy::Local => &self.local,
        };
        if !list.is_empty() {
            Target::Balance(Arc::clone(list))
        } else if self.cluster.is_empty() {
            Target::Refuse
        } else {
            Target::Drop
        }
    }
}

/// Where an endpoint stands with the connections of one policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Standing {
    /// It takes them.
    In,
    /// Not ready.
    #[default]
    NotReady,
    /// Terminating and not serving any more.
    Terminated,
    /// Terminating, while others are ready.
    Terminating,
    /// Policy Local, and on another node.
    OtherNode,
    /// Its topology hints are for other nodes.
    HintedToOtherNodes,
    /// Its topology hints are for other zones.
    HintedToOtherZones,
    /// Its slices do not have a port of this name and protocol.
    OtherPort,
    /// Of the other IP family.
    OtherFamily,
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
    /// Terminating, for the explanation alone.
    terminates: bool,
    runs_here: bool,
    may_run_here: bool,
    node: Hint,
    zone: Hint,
}

/// What an endpoint's hints say about this node or its zone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hint {
    None,
    Elsewhere,
    Here,
}

/// One kind of hints, and what those endpoints are that it leaves out.
type HintKind = (Standing, fn(&Candidate) -> Hint);

type Candidates = BTreeMap<SocketAddr, Candidate>;

pub(super) fn select(facts: &NodeFacts, port: &ServicePort, state: &ServiceState, ipv4: bool) -> Selected {
    among(&candidates(facts, port, state, ipv4))
}

/// The same for what this node answers itself: nobody is asked for an endpoint but when its own server does not answer, so
/// that one, at an address of the node, is none of them.
pub(super) fn elsewhere(facts: &NodeFacts, port: &ServicePort, state: &ServiceState, ipv4: bool) -> Selected {
    let mut candidates = candidates(facts, port, state, ipv4);
    candidates.retain(|endpoint, _| !facts.addresses.contains(&endpoint.ip()));
    among(&candidates)
}

fn among(candidates: &Candidates) -> Selected {
    let cluster = takers(candidates, TrafficPolicy::Cluster);
    let local = takers(candidates, TrafficPolicy::Local);
    let mut here: Vec<IpAddr> = cluster
        .iter()
        .chain(&local)
        .filter(|endpoint| candidates[*endpoint].may_run_here)
        .map(SocketAddr::ip)
        .collect();
    here.sort_unstable();
    here.dedup();
    Selected { cluster: cluster.into(), local: local.into(), here: here.into() }
}

/// The endpoints of the port and family with where they stand: those that are in are the policy's target, and why each
/// of the others is out is the first of the selection's questions that it fails.
pub(super) fn standings(
    facts: &NodeFacts,
    port: &ServicePort,
    state: &ServiceState,
    ipv4: bool,
    policy: TrafficPolicy,
) -> BTreeMap<SocketAddr, Standing> {
    let candidates = candidates(facts, port, state, ipv4);
    let takers = takers(&candidates, policy);
    let standing = |address: &SocketAddr, candidate: &Candidate| match takers.binary_search(address) {
        Ok(_) => Standing::In,
        Err(_) => why_not(candidate, policy, &candidates),
    };
    candidates.iter().map(|(address, candidate)| (*address, standing(address, candidate))).collect()
}

fn why_not(candidate: &Candidate, policy: TrafficPolicy, candidates: &Candidates) -> Standing {
    match (candidate.condition, policy) {
        (Condition::Unusable, _) if candidate.terminates => Standing::Terminated,
        (Condition::Unusable, _) => Standing::NotReady,
        (_, TrafficPolicy::Local) if !candidate.runs_here => Standing::OtherNode,
        (Condition::Terminating, _) => Standing::Terminating,
        (Condition::Ready, _) => match topology(candidates) {
            Some((by, _)) => by,
            // Policy Local takes every ready one that runs here, policy Cluster without hints every ready one.
            None => Standing::In,
        },
    }
}

/// Who takes connections that a policy applies to, sorted.
fn takers(candidates: &Candidates, policy: TrafficPolicy) -> Vec<SocketAddr> {
    match (policy, topology(candidates)) {
        (TrafficPolicy::Local, _) => usable(candidates, |candidate| candidate.runs_here),
        (TrafficPolicy::Cluster, None) => usable(candidates, |_| true),
        (TrafficPolicy::Cluster, Some((_, hint))) => {
            usable(candidates, |candidate| hint(candidate) == Hint::Here)
        }
    }
}

fn candidates(facts: &NodeFacts, port: &ServicePort, state: &ServiceState, ipv4: bool) -> Candidates {
    let mut candidates = Candidates::new();
    for slice in &state.slices {
        let matching =
            slice.ports.iter().filter(|other| other.name == port.name && other.protocol == port.protocol);
        for number in matching.map(|matching| matching.port) {
            let fitting = |endpoint: &Endpoint<'_>| endpoint.proxied && endpoint.address.is_ipv4() == ipv4;
            for endpoint in slice.endpoints.iter().filter(fitting) {
                join(&mut candidates, SocketAddr::new(endpoint.address, number), candidate(facts, &endpoint));
            }
        }
    }
    candidates
}

fn candidate(facts: &NodeFacts, endpoint: &Endpoint<'_>) -> Candidate {
    let condition = match (endpoint.ready, endpoint.serving && endpoint.terminating) {
        (true, _) => Condition::Ready,
        (false, true) => Condition::Terminating,
        (false, false) => Condition::Unusable,
    };
    Candidate {
        condition,
        terminates: endpoint.terminating,
        runs_here: facts.runs(endpoint.node),
        may_run_here: facts.may_run(endpoint.node),
        node: hint(endpoint.for_nodes, Some(&facts.name)),
        zone: hint(endpoint.for_zones, facts.zone.as_ref()),
    }
}

fn hint(hints: &[Arc<str>], own: Option<&Arc<str>>) -> Hint {
    match own {
        _ if hints.is_empty() => Hint::None,
        Some(own) if hints.contains(own) => Hint::Here,
        _ => Hint::Elsewhere,
    }
}

fn join(candidates: &mut Candidates, address: SocketAddr, new: Candidate) {
    let known = candidates.entry(address).or_insert(new);
    match (known.terminates, new.terminates) {
        (true, false) => *known = new,
        (false, true) => return,
        _ => {}
    }
    known.condition = known.condition.max(new.condition);
    known.runs_here |= new.runs_here;
    known.may_run_here |= new.may_run_here;
    known.node = known.node.max(new.node);
    known.zone = known.zone.max(new.zone);
}

/// By which hints the ready endpoints are narrowed: nodes' before zones', and only if every ready endpoint has some and
/// one is for here (kube-proxy's `topologyModeFromHints`).
///
/// With the hints' kind comes what those are that they leave out.
fn topology(candidates: &Candidates) -> Option<HintKind> {
    let kinds: [HintKind; 2] = [
        (Standing::HintedToOtherNodes, |candidate| candidate.node),
        (Standing::HintedToOtherZones, |candidate| candidate.zone),
    ];
    let ready = || candidates.values().filter(|candidate| candidate.condition == Condition::Ready);
    kinds.into_iter().find(|(_, hint)| {
        ready().all(|candidate| hint(candidate) != Hint::None)
            && ready().any(|candidate| hint(candidate) == Hint::Here)
    })
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
