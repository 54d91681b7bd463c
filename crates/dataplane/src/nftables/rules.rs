//! What our chains do: one function for each question that a packet is asked.
//!
//! ```text
//! raw       prerouting, output   does this node answer it itself?  → untrack | untrack-tcp
//!           untrack…             does its server listen?           (untracked) | to-another-node
//! dstnat    prerouting, output   which service port is it for?     → n<k> | by-client | external | refuse | drop
//!           by-client            which Service remembers?         → sticky-…
//!           external             who asks, and may he?             → n<k> | o<k> | sticky-… | refuse | drop
//!           sticky-…             has the client been here before?  → endpoint-…
//!           n<k>, o<k>           which of its k endpoints?         → DNAT
//!           endpoint-…           remember the client               → DNAT
//! filter    forward, output      does it still go to a service address?  (drop)
//! srcnat    postrouting          was it translated?                → translated
//!           translated           must its answer pass this node?   (masquerade)
//! ```
//!
//! Traps that shape this: each lookup in one packet takes its own generation of the maps, so a missing index goes on
//! to `n1` and only a missing first endpoint is refused. Rejecting from nat chains needs kernel 5.9: below, the chain
//! `refuse` lets pass, and filter chains (input too) refuse what is still addressed to a frontend. A lookup that
//! feeds a lookup makes nft abort, so what stands between is the packet's priority ([`super::number`]).

mod answered;
mod circumstances;
mod load;
mod refusal;
mod services;
mod sticky;
mod translated;

use super::expression::{Expression, Verdict};
use super::family::{Family, PROTOCOL};
use super::message::{Chain, Hook, Rule};
use super::set::SERVICE_CIDRS;

pub(super) use circumstances::{Circumstances, FromPods};
pub(crate) use services::List;
pub(super) use services::balance_chain;
pub(super) use sticky::{endpoint_chain, sticky_chain};

/// The chain that refuses.
pub(super) const REFUSE: &str = "refuse";
/// The chain that filter chains refuse by, where nat chains cannot.
pub(super) const REJECT: &str = "reject-late";
/// The chain for frontends whose verdict depends on the client.
pub(super) const EXTERNAL: &str = "external";
/// The chain for frontends that remember their clients.
pub(super) const BY_CLIENT: &str = "by-client";
/// The chain for what this node answers itself.
const UNTRACK: &str = "untrack";
/// The same for TCP.
const UNTRACK_TCP: &str = "untrack-tcp";
/// The chain for connections to what this node answers itself and does not.
const ANOTHER_NODE: &str = "to-another-node";
/// The chain for connections that were translated.
const TRANSLATED: &str = "translated";

const PREROUTING: u32 = 0;
const INPUT: u32 = 1;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
const PRIORITY_RAW: i32 = -300;
const PRIORITY_DSTNAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SRCNAT: i32 = 100;

/// Chains that are always there.
pub(super) fn fixed_chains(family: &Family, circumstances: &Circumstances) -> Vec<Chain> {
    let plain = |name: &str, rules| Chain { name: name.to_owned(), hook: None, rules };
    let hooked = |name: &str, kind, number, priority, rules| Chain {
        name: name.to_owned(),
        hook: Some(Hook { kind, number, priority }),
        rules,
    };
    let late = if circumstances.late_refusal { refusal::late(family) } else { Vec::new() };
    let forward = [late.clone(), vec![stray_drop(family)]].concat();
    let output = [answered::accept(family), forward.clone()].concat();
    let mut chains = refusal::chains(family, circumstances.late_refusal);
    chains.extend(translated::chains(family, circumstances));
    chains.extend([
        plain(UNTRACK, answered::untrack()),
        plain(UNTRACK_TCP, answered::untrack_tcp(family)),
        plain(ANOTHER_NODE, answered::to_another_node(family)),
        balance_chain(family, List::All, 1),
        balance_chain(family, List::Outside, 1),
        services::by_client(family),
        services::external(family, circumstances),
        hooked("raw-prerouting", "filter", PREROUTING, PRIORITY_RAW, answered::arriving(family)),
        hooked("raw-output", "filter", OUTPUT, PRIORITY_RAW, answered::leaving(family)),
        hooked("nat-prerouting", "nat", PREROUTING, PRIORITY_DSTNAT, services::lookup(family)),
        hooked("nat-output", "nat", OUTPUT, PRIORITY_DSTNAT, services::lookup(family)),
        hooked("filter-forward", "filter", FORWARD, PRIORITY_FILTER, forward),
        hooked("filter-output", "filter", OUTPUT, PRIORITY_FILTER, output),
        hooked("nat-postrouting", "nat", POSTROUTING, PRIORITY_SRCNAT, translated::was_translated()),
    ]);
    if !late.is_empty() {
        chains.push(hooked("filter-input", "filter", INPUT, PRIORITY_FILTER, late));
    }
    chains
}

/// What still goes to a service address after translation must not leave: unallocated addresses, and packets that
/// connection tracking calls invalid and that therefore were not translated (a late RST or FIN). What this node
/// answers itself is let pass before, on its way out. What stays on this node may: its own processes ask from the service
/// address that they ask, and hear by ICMP that nobody listens there.
fn stray_drop(family: &Family) -> Rule {
    let mut drop = vec![load::destination(family, PROTOCOL), Expression::InSet(PROTOCOL, SERVICE_CIDRS)];
    drop.extend(services::to_elsewhere());
    drop.push(Expression::Verdict(Verdict::Drop));
    Rule::new("no service took it", drop)
}
