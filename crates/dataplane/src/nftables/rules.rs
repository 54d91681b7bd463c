//! What our chains do: one function for each question that a packet is asked.
//!
//! ```text
//! raw       prerouting, output   does this node answer it itself?  (untracked)
//! dstnat    prerouting, output   which service port is it for?     → n<k> | refuse | drop
//!           n<k>                 which of its k endpoints?         → DNAT
//! filter    forward, output      does it still go to a service address?  (drop)
//! srcnat    postrouting          does it come back to the pod that sent it?  (masquerade)
//! ```
//!
//! Traps that shape this: each lookup in one packet takes its own generation of the maps, so a missing index goes on
//! to `n1` and only a missing first endpoint is refused. Rejecting from nat chains needs kernel 5.9. A lookup that
//! feeds a lookup makes nft 1.0.6 abort.

use super::expression::{Base, Expression, Refusal, Register, Verdict};
use super::family::{Family, PROTOCOL};
use super::message::{Chain, Hook, Rule};
use super::set::{ANSWERED, ENDPOINTS, HAIRPINS, SERVICE_CIDRS, SERVICE_IPS, SERVICES};

/// The chain that refuses.
pub(super) const REFUSE: &str = "refuse";
/// The chain for what this node answers itself.
const UNTRACK: &str = "untrack";
const TCP: u8 = 6;
const UDP: u8 = 17;
/// `IPS_DST_NAT` of a connection's status.
const DESTINATION_TRANSLATED: u32 = 1 << 5;

const PREROUTING: u32 = 0;
const FORWARD: u32 = 2;
const OUTPUT: u32 = 3;
const POSTROUTING: u32 = 4;
const PRIORITY_RAW: i32 = -300;
const PRIORITY_DSTNAT: i32 = -100;
const PRIORITY_FILTER: i32 = 0;
const PRIORITY_SRCNAT: i32 = 100;

/// The chain for service ports with `count` endpoints.
pub(super) fn balance_name(count: u32) -> String {
    format!("n{count}")
}

/// The count of a balance chain's name.
pub(super) fn balance_count(name: &str) -> Option<u32> {
    name.strip_prefix('n')?.parse().ok().filter(|count| *count > 0)
}

/// Chains that are always there, in an order in which each exists before it is gone to.
pub(super) fn fixed_chains(family: &Family) -> Vec<Chain> {
    let plain = |name: &str, rules| Chain { name: name.to_owned(), hook: None, rules };
    let hooked = |name: &str, kind, number, priority, rules| Chain {
        name: name.to_owned(),
        hook: Some(Hook { kind, number, priority }),
        rules,
    };
    vec![
        plain(REFUSE, refuse(family)),
        plain(UNTRACK, untrack()),
        balance_chain(family, 1),
        hooked("raw-prerouting", "filter", PREROUTING, PRIORITY_RAW, answered_arriving(family)),
        hooked("raw-output", "filter", OUTPUT, PRIORITY_RAW, answered_leaving(family)),
        hooked("nat-prerouting", "nat", PREROUTING, PRIORITY_DSTNAT, service_lookup(family)),
        hooked("nat-output", "nat", OUTPUT, PRIORITY_DSTNAT, service_lookup(family)),
        hooked("filter-forward", "filter", FORWARD, PRIORITY_FILTER, vec![stray_drop(family)]),
        hooked("filter-output", "filter", OUTPUT, PRIORITY_FILTER, stray_drop_output(family)),
        hooked("nat-postrouting", "nat", POSTROUTING, PRIORITY_SRCNAT, vec![hairpin(family)]),
    ]
}

/// Which of `count` endpoints? One at random; if it has just gone, the first; if that has, none is left.
pub(super) fn balance_chain(family: &Family, count: u32) -> Chain {
    let index = family.index_register();
    let mut pick = destination_port(family);
    pick.extend([
        Expression::Random(index, count),
        Expression::Map(PROTOCOL, ENDPOINTS, PROTOCOL),
        Expression::Dnat(family.number.into(), PROTOCOL, PROTOCOL.after(family.address_length)),
    ]);
    let (next, why) = if count == 1 {
        (REFUSE.to_owned(), "the last endpoint has just gone")
    } else {
        (balance_name(1), "this number has just gone: the first")
    };
    let miss = Rule::new(why, vec![Expression::Verdict(Verdict::Goto(next))]);
    Chain {
        name: balance_name(count),
        hook: None,
        rules: vec![Rule::new(format!("one of {count}"), pick), miss],
    }
}

/// Which service port? Undefined ports of a service's address are refused.
fn service_lookup(family: &Family) -> Vec<Rule> {
    let mut lookup = destination_port(family);
    lookup.push(Expression::VerdictMap(PROTOCOL, SERVICES));
    let undefined = vec![
        destination(family, PROTOCOL),
        Expression::InSet(PROTOCOL, SERVICE_IPS),
        Expression::Verdict(Verdict::Goto(REFUSE.to_owned())),
    ];
    vec![Rule::new("a service port", lookup), Rule::new("no port of this service", undefined)]
}

/// TCP by reset, which the kernel does not limit; the rest by ICMP.
fn refuse(family: &Family) -> Vec<Rule> {
    let reset = vec![
        Expression::TransportProtocol(PROTOCOL),
        Expression::Equal(PROTOCOL, vec![TCP]),
        Expression::Reject(Refusal::TcpReset),
    ];
    let unreachable = Expression::Reject(Refusal::PortUnreachable(family.port_unreachable));
    vec![Rule::new("tcp", reset), Rule::new("the rest", vec![unreachable])]
}

/// What still goes to a service address after translation must not leave: unallocated addresses, and packets that
/// connection tracking calls invalid and that therefore were not translated (a late RST or FIN).
fn stray_drop(family: &Family) -> Rule {
    let drop = vec![
        destination(family, PROTOCOL),
        Expression::InSet(PROTOCOL, SERVICE_CIDRS),
        Expression::Verdict(Verdict::Drop),
    ];
    Rule::new("no service took it", drop)
}

/// As above; but what this node answers itself stays, in both directions.
fn stray_drop_output(family: &Family) -> Vec<Rule> {
    let accept = |load: Vec<Expression>, comment| {
        let mut expressions = load;
        expressions.push(Expression::InSet(PROTOCOL, ANSWERED));
        expressions.push(Expression::Verdict(Verdict::Accept));
        Rule::new(comment, expressions)
    };
    vec![
        accept(destination_port(family), "to this node's own server"),
        accept(source_port(family), "from this node's own server"),
        stray_drop(family),
    ]
}

/// Does it come back to the pod that sent it? Then the answer must pass this node: masquerade. Only flows that were
/// translated, from a service's address, are meant.
fn hairpin(family: &Family) -> Rule {
    let status = PROTOCOL;
    let expressions = vec![
        Expression::ConnectionStatus(status),
        Expression::Mask(status, DESTINATION_TRANSLATED),
        Expression::NotEqual(status, vec![0; 4]),
        Expression::OriginalDestination(PROTOCOL, family.ct_destination),
        Expression::InSet(PROTOCOL, SERVICE_IPS),
        source(family, PROTOCOL),
        destination(family, PROTOCOL.after(family.address_length)),
        Expression::InSet(PROTOCOL, HAIRPINS),
        Expression::Masquerade,
    ];
    Rule::new("an endpoint that reaches itself", expressions)
}

/// Is it for a port that this node answers itself? One lookup for each packet that arrives. Answers need none: those
/// to pods pass the output hook only, and what a process of the node sends comes back from the loopback interface in
/// the state that it has got there.
fn answered_arriving(family: &Family) -> Vec<Rule> {
    let mut expressions = destination_port(family);
    expressions.push(Expression::InSet(PROTOCOL, ANSWERED));
    expressions.push(Expression::Verdict(Verdict::Goto(UNTRACK.to_owned())));
    vec![Rule::new("to this node's own server", expressions)]
}

/// Then neither connection tracking nor translation may see it. UDP only while the server's socket is there, so that
/// queries go to another node when it has died; a TCP handshake has no full socket to look for (`nft_socket` breaks
/// on a request socket).
fn untrack() -> Vec<Rule> {
    let socket = PROTOCOL;
    let udp = vec![
        Expression::TransportProtocol(PROTOCOL),
        Expression::Equal(PROTOCOL, vec![UDP]),
        Expression::SocketWildcard(socket),
        Expression::Equal(socket, vec![0]),
        Expression::Untracked,
    ];
    let tcp = vec![
        Expression::TransportProtocol(PROTOCOL),
        Expression::Equal(PROTOCOL, vec![TCP]),
        Expression::Untracked,
    ];
    vec![Rule::new("udp, while the server listens", udp), Rule::new("tcp", tcp)]
}

/// The same for what processes of the node send. The socket of an outgoing packet is the sender's own, so here the
/// server cannot be looked for.
fn answered_leaving(family: &Family) -> Vec<Rule> {
    vec![
        untracked(destination_port(family), "to this node's own server"),
        untracked(source_port(family), "from this node's own server"),
    ]
}

fn untracked(load: Vec<Expression>, comment: &str) -> Rule {
    let mut expressions = load;
    expressions.push(Expression::InSet(PROTOCOL, ANSWERED));
    expressions.push(Expression::Untracked);
    Rule::new(comment, expressions)
}

/// Loads `protocol . destination . destination port`.
fn destination_port(family: &Family) -> Vec<Expression> {
    vec![
        Expression::TransportProtocol(PROTOCOL),
        destination(family, Family::address_register()),
        port(family, 2),
    ]
}

/// Loads `protocol . source . source port`.
fn source_port(family: &Family) -> Vec<Expression> {
    vec![Expression::TransportProtocol(PROTOCOL), source(family, Family::address_register()), port(family, 0)]
}

fn destination(family: &Family, into: Register) -> Expression {
    Expression::Payload {
        into,
        base: Base::Network,
        offset: family.destination,
        length: family.address_length,
    }
}

fn source(family: &Family, into: Register) -> Expression {
    Expression::Payload { into, base: Base::Network, offset: family.source, length: family.address_length }
}

fn port(family: &Family, offset: u32) -> Expression {
    Expression::Payload { into: family.port_register(), base: Base::Transport, offset, length: 2 }
}
