//! Our aliases with another resolver's answer about the last one's target.

use super::encode;
use crate::message::records::{Response, read_response};
use crate::message::{Query, rcode};

/// The whole: the aliases, then what was said about the target, with its code and its TC bit. `None` when that was a failure.
pub(super) fn join(aliases: Response, mut target: Response) -> Option<Response> {
    if !matches!(target.rcode, rcode::NOERROR | rcode::NXDOMAIN) {
        return None;
    }
    if !target.answers.is_empty() {
        target.authority.clear();
    }
    target.additional.clear();
    (target.authoritative, target.recursion_available, target.authenticated) = (true, false, false);
    target.answers = aliases.answers.into_iter().chain(target.answers).collect();
    Some(target)
}

/// What a client is told, in at most `size` bytes, when `upstream` is what a resolver sent about its question, or about
/// the last alias of `partial`. SERVFAIL when that cannot be read. Pure: the way of hostile bytes through the chain.
#[must_use]
pub fn passed_on(query: &Query<'_>, partial: Option<&[u8]>, upstream: &[u8], size: usize) -> Vec<u8> {
    let response = match (read_response(upstream), partial) {
        (Some(target), Some(partial)) => read_response(partial).and_then(|aliases| join(aliases, target)),
        (response, _) => response,
    };
    let failure = || Response { rcode: rcode::SERVFAIL, ..Response::default() };
    encode::encode(query, &response.unwrap_or_else(failure), size)
}
