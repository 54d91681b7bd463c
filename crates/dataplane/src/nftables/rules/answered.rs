//! Does this node answer it itself? Then neither connection tracking nor translation may see it.

use super::UNTRACK;
use super::load::{destination_port, source_port};
use crate::nftables::expression::{Expression, Verdict};
use crate::nftables::family::{Family, PROTOCOL};
use crate::nftables::message::Rule;
use crate::nftables::set::ANSWERED;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// One lookup for each packet that arrives. Answers need none: those to pods pass the output hook only, and what a
/// process of the node sends comes back from the loopback interface in the state that it has got there.
pub(super) fn arriving(family: &Family) -> Vec<Rule> {
    let mut expressions = destination_port(family);
    expressions.push(Expression::InSet(PROTOCOL, ANSWERED));
    expressions.push(Expression::Verdict(Verdict::Goto(UNTRACK.to_owned())));
    vec![Rule::new("to this node's own server", expressions)]
}

/// UDP only while the server's socket is there, so that queries go to another node when it has died; a TCP handshake
/// has no full socket to look for (`nft_socket` breaks on a request socket).
pub(super) fn untrack() -> Vec<Rule> {
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
pub(super) fn leaving(family: &Family) -> Vec<Rule> {
    in_either_direction(family, &Expression::Untracked)
}

/// Lets pass what goes to or comes from this node's own server.
pub(super) fn accept(family: &Family) -> Vec<Rule> {
    in_either_direction(family, &Expression::Verdict(Verdict::Accept))
}

fn in_either_direction(family: &Family, action: &Expression) -> Vec<Rule> {
    let rule = |mut expressions: Vec<Expression>, comment| {
        expressions.push(Expression::InSet(PROTOCOL, ANSWERED));
        expressions.push(action.clone());
        Rule::new(comment, expressions)
    };
    vec![
        rule(destination_port(family), "to this node's own server"),
        rule(source_port(family), "from this node's own server"),
    ]
}
