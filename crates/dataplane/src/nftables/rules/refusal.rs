//! How connections are refused: by the nat chains themselves, or, where the kernel does not let these, by filter chains.

use super::load::{destination, destination_port};
use super::{REFUSE, REJECT};
use crate::nftables::expression::{Expression, Refusal, Verdict};
use crate::nftables::family::{Family, PROTOCOL};
use crate::nftables::message::{Chain, Rule};
use crate::nftables::set::{REFUSED, SERVICE_IPS};

/// Comment by which late refusal is recognised.
pub(super) const LATE_REFUSAL: &str = "refused later, by filter chains";
const TCP: u8 = 6;
/// `NF_CT_STATE_BIT(IP_CT_NEW)`.
const NEW_CONNECTION: u32 = 1 << 3;

/// The chains that refuse. With late refusal the first lets pass, untranslated, what the second refuses.
pub(super) fn chains(family: &Family, late: bool) -> Vec<Chain> {
    let plain = |name: &str, rules| Chain { name: name.to_owned(), hook: None, rules };
    if !late {
        return vec![plain(REFUSE, refuse(family))];
    }
    let accept = Rule::new(LATE_REFUSAL, vec![Expression::Verdict(Verdict::Accept)]);
    vec![plain(REFUSE, vec![accept]), plain(REJECT, refuse(family))]
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

/// Is it a new connection that is still addressed to a ClusterIP, or to another frontend that refuses? What is dropped
/// was so before.
pub(super) fn late(family: &Family) -> Vec<Rule> {
    let state = PROTOCOL;
    let new = [
        Expression::ConnectionState(state),
        Expression::Mask(state, NEW_CONNECTION.to_ne_bytes().to_vec()),
        Expression::NotEqual(state, vec![0; 4]),
    ];
    let rule = |comment: &str, key: Vec<Expression>, set| {
        let verdict =
            [Expression::InSet(PROTOCOL, set), Expression::Verdict(Verdict::Goto(REJECT.to_owned()))];
        Rule::new(comment, [new.to_vec(), key, verdict.to_vec()].concat())
    };
    vec![
        rule("no endpoint, or no port of this service", vec![destination(family, PROTOCOL)], SERVICE_IPS),
        rule("no endpoint", destination_port(family), REFUSED),
    ]
}
