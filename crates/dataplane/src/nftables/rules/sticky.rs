//! Has this client been here before, and at which endpoint?
//!
//! No map remembers the endpoint: an `update` of a map keeps its old value, and a rule that learns what it looked up
//! makes nft 1.0.6 abort. So each endpoint has a set of its clients, asked one after the other.

use std::net::SocketAddr;

use services::Protocol;

use super::load::source;
use crate::nftables::affinity::{Group, Sticky, again};
use crate::nftables::expression::{Expression, Verdict};
use crate::nftables::family::{Family, PROTOCOL, put_address};
use crate::nftables::message::{Chain, Rule};

/// The endpoint that remembers the client; if none does, one at random, each as likely as the others.
pub(in crate::nftables) fn sticky_chain(family: &Family, sticky: &Sticky, endpoints: &[SocketAddr]) -> Chain {
    let group = &sticky.group;
    let remembered = endpoints.iter().map(|endpoint| {
        let expressions = vec![
            source(family, PROTOCOL),
            Expression::InNamedSet(PROTOCOL, group.set(*endpoint)),
            go(group, *endpoint),
        ];
        Rule::new(again(*endpoint), expressions)
    });
    // Of the n that are left, the first with probability 1/n.
    let random = (1..).zip(endpoints.iter().rev()).map(|(left, endpoint)| {
        let mut expressions = Vec::new();
        if left > 1 {
            let none = Expression::Equal(PROTOCOL, vec![0; 4]);
            expressions.extend([Expression::Random(PROTOCOL, left), none]);
        }
        expressions.push(go(group, *endpoint));
        Rule::new(endpoint.to_string(), expressions)
    });
    let mut random: Vec<Rule> = random.collect();
    random.reverse();
    Chain { name: sticky.chain(), hook: None, rules: remembered.chain(random).collect() }
}

/// Remembers the client, or for longer, and translates. A full set ends the rule that adds to it, so the translation
/// has a rule of its own. The timeout is the rule's, not the set's: another one needs no other set.
pub(in crate::nftables) fn endpoint_chain(
    family: &Family,
    group: &Group,
    endpoint: SocketAddr,
    protocol: Protocol,
    seconds: u64,
) -> Chain {
    let remember =
        vec![source(family, PROTOCOL), Expression::Remember(PROTOCOL, group.set(endpoint), seconds)];
    let port = PROTOCOL.after(16);
    let mut address = Vec::new();
    put_address(&mut address, endpoint.ip());
    let translate = vec![
        Expression::TransportProtocol(PROTOCOL),
        Expression::Equal(PROTOCOL, vec![protocol.number()]),
        Expression::Immediate(PROTOCOL, address),
        Expression::Immediate(port, endpoint.port().to_be_bytes().to_vec()),
        Expression::Dnat(family.number.into(), PROTOCOL, port),
    ];
    let rules = vec![
        Rule::new(format!("remember the client for {seconds}s"), remember),
        Rule::new(endpoint.to_string(), translate),
    ];
    Chain { name: group.endpoint_chain(endpoint), hook: None, rules }
}

fn go(group: &Group, endpoint: SocketAddr) -> Expression {
    Expression::Verdict(Verdict::Goto(group.endpoint_chain(endpoint)))
}
