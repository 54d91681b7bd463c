//! `template`: records made from the question by a pattern.

use hickory_proto::op::{Message, MessageType, OpCode};
use hickory_proto::serialize::txt::Parser;

use super::ask::{Ask, Reply, name_text, zone_of};
use crate::corefile::{Facts, Pattern, Template};
use crate::message::rcode;
use crate::message::records::{Record, kind_name, read_response};

const PLUGIN: &str = "template";
/// Lifetime of a record whose text names none, in seconds, as CoreDNS.
const TTL: u32 = 3600;

/// What a template says to a question.
pub(super) enum Templated {
    /// Nothing: the next template, or the next plugin.
    Pass,
    /// An answer.
    Reply(Reply),
}

/// Asks one template.
pub(super) fn answer(template: &Template, ask: &Ask) -> Templated {
    let Some(zone) = zone_of(&ask.name, &template.zones) else { return Templated::Pass };
    let differs =
        |wanted: Option<u16>, asked: u16| wanted.is_some_and(|wanted| asked != 255 && wanted != asked);
    if differs(template.class, ask.class) || differs(template.kind, ask.kind) {
        return Templated::Pass;
    }
    let name = ask.text();
    let Some(captures) = template.matches.iter().find_map(|pattern| pattern.captures(&name)) else {
        if zone_of(&ask.name, &template.fallthrough).is_some() {
            return Templated::Pass;
        }
        return Templated::Reply(Reply::code(rcode::SERVFAIL, PLUGIN));
    };
    if template.rcode == rcode::SERVFAIL {
        return Templated::Reply(Reply::code(rcode::SERVFAIL, PLUGIN));
    }
    let (zone, kind) = (name_text(zone.as_wire()), kind_name(ask.kind));
    let remote = ask.peer.ip().to_string();
    let facts = Facts {
        name: &name,
        zone: &zone,
        kind: &kind,
        class: "IN",
        remote: &remote,
        id: ask.id,
        captures: &captures,
    };
    Templated::Reply(fill(template, &facts).unwrap_or_else(|text| {
        Reply::failure(format!("{}: {text:?} is not a record", template.position), PLUGIN)
    }))
}

fn fill(template: &Template, facts: &Facts<'_>) -> Result<Reply, String> {
    let section = |patterns: &[Pattern]| {
        let texts = patterns.iter().map(|pattern| pattern.fill(facts));
        texts.map(|text| read_record(&text).ok_or(text)).collect::<Result<Vec<_>, _>>()
    };
    let mut reply = Reply::records(section(&template.answer)?, PLUGIN);
    reply.response.authority = section(&template.authority)?;
    reply.response.additional = section(&template.additional)?;
    reply.response.rcode = template.rcode;
    Ok(reply)
}

/// A record in the form of a zone file.
fn read_record(text: &str) -> Option<Record> {
    let file = format!("$TTL {TTL}\n{text}\n");
    let (_, sets) = Parser::new(file, None, Some(hickory_proto::rr::Name::root())).parse().ok()?;
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    for record in sets.values().flat_map(|set| set.records_without_rrsigs()) {
        message.add_answer(record.clone());
    }
    let mut records = read_response(&message.to_vec().ok()?)?.answers;
    records.truncate(1);
    records.pop()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_zone_files_have_them() {
        for (text, expected) in [
            ("a.org. 60 IN A 1.2.3.4", "a.org. 60 IN A 1.2.3.4"),
            ("a.org. IN AAAA ::1", "a.org. 3600 IN AAAA ::1"),
            ("a.org. 5 IN CNAME b.org.", "a.org. 5 IN CNAME b.org."),
            ("a.org. 60 IN TXT \"x y\"", "a.org. 60 IN TXT \"x y\""),
            (
                "a.org. 60 IN SOA ns.a.org. h.a.org. 1 60 60 60 60",
                "a.org. 60 IN SOA ns.a.org. h.a.org. 1 60 60 60 60",
            ),
        ] {
            assert_eq!(
                read_record(text).map(|record| record.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        assert!(read_record("a.org. 60 IN A nonsense").is_none());
    }
}
