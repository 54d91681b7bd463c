//! Joins our CNAMEs with what an upstream says about their target. Off the hot path.

use super::{Transport, size_max};
use crate::message::records::{Record, Response, read_response};
use crate::message::{Query, Section, Writer, rcode};

/// Writes the whole answer to `query`: the aliases of `partial` (from [`super::Outcome::Chase`]), then the answer of
/// `upstream` to the target, with its code and its TC bit. Without an upstream's answer the whole is SERVFAIL: a CNAME
/// alone would be taken for "no address". Returns its length, 0 when the buffer is too small.
#[must_use]
pub fn complete(
    query: &Query<'_>,
    partial: &[u8],
    upstream: Option<&[u8]>,
    transport: Transport,
    buffer: &mut [u8],
) -> usize {
    let Some(mut writer) = Writer::start(query, size_max(query, transport), buffer) else { return 0 };
    let (Some(aliases), Some(target)) = (read_response(partial), upstream.and_then(read_response)) else {
        return writer.finish(rcode::SERVFAIL);
    };
    if !matches!(target.rcode, rcode::NOERROR | rcode::NXDOMAIN) {
        return writer.finish(rcode::SERVFAIL);
    }
    let Response { rcode, truncated, answers, authority, .. } = target;
    let empty = answers.is_empty();
    aliases.answers.iter().chain(&answers).for_each(|record| write(&mut writer, Section::Answer, record));
    authority.iter().filter(|_| empty).for_each(|record| write(&mut writer, Section::Authority, record));
    if truncated {
        writer.mark_cut();
    }
    writer.finish(rcode)
}

fn write(writer: &mut Writer<'_>, section: Section, record: &Record) {
    writer.record(
        section,
        record.kind,
        record.ttl,
        |writer| writer.put(&record.owner),
        |writer| writer.put(&record.data),
    );
}

/// The query for the target of the last alias in `partial`, of the same type, for an upstream: recursion desired, and
/// EDNS as the client has it. `None` when `partial` holds no alias.
pub(crate) fn target_query(query: &Query<'_>, partial: &[u8]) -> Option<Vec<u8>> {
    let target = read_response(partial)?.answers.pop()?.data;
    let mut packet = query.bytes.get(..4)?.to_vec();
    packet[2] |= 0x01;
    packet.extend([0, 1, 0, 0, 0, 0, 0, 1]);
    packet.extend(target);
    packet.extend(query.qtype.to_be_bytes());
    packet.extend(query.qclass.to_be_bytes());
    let dnssec_ok = query.edns.is_some_and(|edns| edns.dnssec_ok);
    // Root owner, OPT, 1232 bytes, version 0, DO as asked, no options.
    packet.extend([0, 0, 41, 0x04, 0xd0, 0, 0, if dnssec_ok { 0x80 } else { 0 }, 0, 0, 0]);
    Some(packet)
}
