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

/// The chain for endpoints that reach themselves.
const ITSELF: &str = "to-itself";
/// The chain for frontends with external policy Local.
const OWN: &str = "own-connections";
/// `IPS_DST_NAT` of a connection's status.
const DESTINATION_TRANSLATED: u32 = 1 << 5;

/// Was the connection translated?
pub(super) fn was_translated() -> Vec<Rule> {
    let status = PROTOCOL;
    let expressions = vec![
        Expression::ConnectionStatus(status),
        Expression::Mask(status, DESTINATION_TRANSLATED.to_ne_bytes().to_vec()),
        Expression::NotEqual(status, vec![0; 4]),
        Expression::Verdict(Verdict::Goto(TRANSLATED.to_owned())),
    ];
    vec![Rule::new("translated", expressions)]
}

/// Each lookup here is paid by every new connection through a service's address: so what is rare is asked once, and the
/// rest of its questions in a chain of their own.
pub(super) fn chains(family: &Family, circumstances: &Circumstances) -> [Chain; 3] {
    let go = |chain: &str| Expression::Verdict(Verdict::Goto(chain.to_owned()));
    let itself = [both_addresses(family), vec![Expression::InSet(PROTOCOL, HAIRPINS), go(ITSELF)]].concat();
    let masquerade = |conditions: Vec<Expression>| [conditions, vec![Expression::Masquerade]].concat();
    let always = masquerade(external(family, MASQUERADED));
    let mut rules = vec![
        Rule::new("an endpoint that reaches itself", itself),
        Rule::new("external policy Cluster", always.clone()),
        Rule::new("external policy Local", [external(family, MASQUERADED_OWN), vec![go(OWN)]].concat()),
    ];
    if circumstances.masquerade_all {
        rules.push(Rule::new(masquerade_all_comment(), masquerade(service(family))));
    } else if let Some(pods) = &circumstances.pods {
        let conditions = [service(family), pods.differs(family)].concat();
        rules.push(Rule::new(pods.masquerade_comment(), masquerade(conditions)));
    }
    let to_itself = vec![
        Rule::new("by a service address", masquerade(service(family))),
        Rule::new("external policy Cluster", always),
        Rule::new("external policy Local", masquerade(external(family, MASQUERADED_OWN))),
    ];
    let own = vec![Rule::new("from this node", masquerade(from_this_node()))];
    [(TRANSLATED, rules), (ITSELF, to_itself), (OWN, own)].map(|(name, rules)| Chain {
        name: name.to_owned(),
        hook: None,
        rules,
    })
}

/// Was it addressed to one of these frontends?
fn external(family: &Family, set: &'static str) -> Vec<Expression> {
    [original_port(family), vec![Expression::InSet(PROTOCOL, set)]].concat()
}

/// Was it addressed to a ClusterIP?
fn service(family: &Family) -> Vec<Expression> {
    vec![
        Expression::OriginalDestination(PROTOCOL, family.ct_destination),
        Expression::InSet(PROTOCOL, SERVICE_IPS),
    ]
}
