//! Does the answer have to pass this node? Then the connection leaves with the node's address as its source.
//!
//! Decided in postrouting by what the connection was before translation, so no packet needs a mark, and only for
//! connections that we translated: to a ClusterIP or to an external frontend. kube-proxy's rules, in its order of
//! importance: externals by their policy, ClusterIPs by where the client is, and endpoints that reach themselves.

use super::TRANSLATED;
use super::circumstances::{Circumstances, masquerade_all_comment};
use super::load::{both_addresses, original_port};
use super::services::from_this_node;
use crate::nftables::expression::{Expression, Verdict};
use crate::nftables::family::{Family, PROTOCOL};
use crate::nftables::message::{Chain, Rule};
use crate::nftables::set::{HAIRPINS, MASQUERADED, MASQUERADED_OWN, SERVICE_IPS};

/// `IPS_DST_NAT` of a connection's status.
const DESTINATION_TRANSLATED: u32 = 1 << 5;

/// Was the connection translated?
pub(super) fn was_translated() -> Vec<Rule> {
    let status = PROTOCOL;
    let expressions = vec![
        Expression::ConnectionStatus(status),
        Expression::Mask(status, DESTINATION_TRANSLATED),
        Expression::NotEqual(status, vec![0; 4]),
        Expression::Verdict(Verdict::Goto(TRANSLATED.to_owned())),
    ];
    vec![Rule::new("translated", expressions)]
}

pub(super) fn chain(family: &Family, circumstances: &Circumstances) -> Chain {
    let external = |set| [original_port(family), vec![Expression::InSet(PROTOCOL, set)]].concat();
    let service = vec![
        Expression::OriginalDestination(PROTOCOL, family.ct_destination),
        Expression::InSet(PROTOCOL, SERVICE_IPS),
    ];
    let itself = [both_addresses(family), vec![Expression::InSet(PROTOCOL, HAIRPINS)]].concat();
    let rule = |comment: &str, conditions: &[&[Expression]]| {
        Rule::new(comment, [conditions.concat(), vec![Expression::Masquerade]].concat())
    };
    let mut rules = vec![
        rule("an endpoint that reaches itself", &[&service, &itself]),
        rule("external policy Cluster", &[&external(MASQUERADED)]),
        rule("external policy Local, from this node", &[&external(MASQUERADED_OWN), &from_this_node()]),
        rule(
            "external policy Local, an endpoint that reaches itself",
            &[&external(MASQUERADED_OWN), &itself],
        ),
    ];
    if circumstances.masquerade_all {
        rules.push(rule(&masquerade_all_comment(), &[&service]));
    } else if let Some(pods) = &circumstances.pods {
        rules.push(rule(&pods.masquerade_comment(), &[&service, &pods.differs(family)]));
    }
    Chain { name: TRANSLATED.to_owned(), hook: None, rules }
}
