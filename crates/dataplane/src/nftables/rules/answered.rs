//! Does this node answer it itself? Then neither connection tracking nor translation may see it.
//!
//! Only while its server is there: without a socket, queries are tracked and translated like all else, and so go to
//! another node. The kernel takes the sockets away with the process, so a server that was killed leaves no gap.

use super::load::{client, destination_port, source_port};
use super::services::to_this_node;
use super::{ANOTHER_NODE, UNTRACK, UNTRACK_TCP};
use crate::nftables::expression::{Base, Expression, Verdict};
use crate::nftables::family::{Family, PROTOCOL};
use crate::nftables::message::Rule;
use crate::nftables::set::{ANSWERED, ELSEWHERE};

const TCP: u8 = 6;
const UDP: u8 = 17;
/// Where the TCP header has its flags, and which of them tell a connection's first packet: SYN without ACK.
const FLAGS: u32 = 13;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// For how many seconds a silent connection is known to be another node's; servers close one earlier.
const SILENCE: u64 = 120;

/// One lookup for each packet that arrives. Answers need none: those to pods pass the output hook only, and what a
/// process of the node sends comes back from the loopback interface in the state that it has got there.
pub(super) fn arriving(family: &Family) -> Vec<Rule> {
    let mut expressions = destination_port(family);
    expressions.push(Expression::InSet(PROTOCOL, ANSWERED));
    expressions.push(go(UNTRACK));
    vec![Rule::new("to this node's own server", expressions)]
}

/// A datagram is judged by itself, so that the next one to a server that is back stays here, whichever port it comes from.
pub(super) fn untrack() -> Vec<Rule> {
    let udp = [is(UDP), bound_to_one_address(true), vec![Expression::Untracked]].concat();
    vec![
        Rule::new("udp, while the server listens", udp),
        Rule::new("tcp", [is(TCP), vec![go(UNTRACK_TCP)]].concat()),
    ]
}

/// A connection is judged by its first packet: when the server is back, a later packet would find the listener and be reset.
///
/// A listener on all addresses is another program's. The socket of a handshake is not a full one: `wildcard` breaks on it,
/// `transparent` does not, so that a repeated first packet stays with the one before.
pub(super) fn untrack_tcp(family: &Family) -> Vec<Rule> {
    let another = || vec![go(ANOTHER_NODE)];
    let mut here = [opens(), vec![Expression::SocketTransparent(PROTOCOL)]].concat();
    here.push(Expression::Equal(PROTOCOL, vec![0]));
    here.extend(client(family));
    here.push(Expression::Forget(PROTOCOL, ELSEWHERE));
    here.extend([Expression::Untracked, Expression::Verdict(Verdict::Accept)]);
    let mut known = client(family);
    known.extend([Expression::InSet(PROTOCOL, ELSEWHERE), go(ANOTHER_NODE)]);
    vec![
        Rule::new("another program listens", [opens(), bound_to_one_address(false), another()].concat()),
        Rule::new("while the server listens", here),
        Rule::new("nobody listens", [opens(), another()].concat()),
        Rule::new("went to another node", known),
        Rule::new("to this node's own server", vec![Expression::Untracked]),
    ]
}

/// It is translated like all else; what follows on the connection is known by the client's end.
pub(super) fn to_another_node(family: &Family) -> Vec<Rule> {
    let mut remember = client(family);
    remember.push(Expression::Remember(PROTOCOL, ELSEWHERE.to_owned(), SILENCE));
    vec![Rule::new("remember the connection", remember)]
}

fn is(protocol: u8) -> Vec<Expression> {
    vec![Expression::TransportProtocol(PROTOCOL), Expression::Equal(PROTOCOL, vec![protocol])]
}

/// Breaks unless a TCP packet opens a connection.
fn opens() -> Vec<Expression> {
    let flags = Expression::Payload { into: PROTOCOL, base: Base::Transport, offset: FLAGS, length: 1 };
    let tell = [flags, Expression::Mask(PROTOCOL, vec![SYN | ACK]), Expression::Equal(PROTOCOL, vec![SYN])];
    [is(TCP), tell.to_vec()].concat()
}

/// Breaks without a socket, and when it is bound to one address and should not, or the other way round.
fn bound_to_one_address(one: bool) -> Vec<Expression> {
    vec![Expression::SocketWildcard(PROTOCOL), Expression::Equal(PROTOCOL, vec![u8::from(!one)])]
}

fn go(chain: &str) -> Expression {
    Expression::Verdict(Verdict::Goto(chain.to_owned()))
}

/// The same for what processes of the node send. The socket of an outgoing packet is the sender's own, so here the
/// server cannot be looked for: with the address on the node, its processes are answered or refused here.
pub(super) fn leaving(family: &Family) -> Vec<Rule> {
    in_either_direction(family, &Expression::Untracked)
}

/// Lets pass what goes to or comes from this node's own server.
pub(super) fn accept(family: &Family) -> Vec<Rule> {
    in_either_direction(family, &Expression::Verdict(Verdict::Accept))
}

fn in_either_direction(family: &Family, action: &Expression) -> Vec<Rule> {
    let answered = || Expression::InSet(PROTOCOL, ANSWERED);
    let mut to = destination_port(family);
    to.push(answered());
    // A server that was stopped takes its address along.
    to.extend(to_this_node());
    to.push(action.clone());
    let mut from = source_port(family);
    from.extend([answered(), action.clone()]);
    vec![Rule::new("to this node's own server", to), Rule::new("from this node's own server", from)]
}
