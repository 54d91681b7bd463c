//! `loadbalance`: addresses of an answer in random order, aliases in front (RFC 1794 asks no more).

use crate::message::records::{Record, Response};
use crate::message::rtype;

/// Puts the records of the answer in CoreDNS's order: aliases, the rest, addresses at random, mail servers at random.
pub(super) fn shuffle(response: &mut Response) {
    let group = |record: &Record| match record.kind {
        rtype::CNAME => 0,
        rtype::A | rtype::AAAA => 2,
        rtype::MX => 3,
        _ => 1,
    };
    let answers = &mut response.answers;
    // Stable: aliases keep their order, which is that of the chain.
    answers.sort_by_key(group);
    for kinds in [2, 3] {
        let start = answers.partition_point(|record| group(record) < kinds);
        let end = answers.partition_point(|record| group(record) <= kinds);
        for index in (start + 1..end).rev() {
            answers.swap(index, rand::random_range(start..=index));
        }
    }
}
