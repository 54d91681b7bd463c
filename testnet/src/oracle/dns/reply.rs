//! A whole answer as text: `NOERROR | @ 30 A 10.96.0.1`, or short for denials: `nx` and `no`.
//!
//! Compared are the code, the flags, the question, and each section's records with owner, lifetime and the case of their
//! letters. Not compared: the order of records of a type (both shuffle), but that aliases come first; the SOA's serial.

use dns::message::parse_query;
use dns::message::records::{Record, Response, rcode_name, read_response};

const CNAME: u16 = 5;
const SOA: u16 = 6;
/// Longest lifetime of a SOA record.
const SOA_TTL_MAX: u32 = 300;
/// Flags of an answer from a zone to a question that desires recursion.
const USUAL: &str = "aa rd";
const FLAGS: [(u16, &str); 7] =
    [(0x400, "aa"), (0x200, "tc"), (0x100, "rd"), (0x80, "ra"), (0x40, "z"), (0x20, "ad"), (0x10, "cd")];

/// The answer to `query` as text.
#[must_use]
pub fn text(query: &[u8], answer: &[u8]) -> String {
    let Some(response) = read_response(answer) else { return "unreadable".to_owned() };
    let mut parts = vec![rcode_name(response.rcode).to_owned()];
    let flags = flags(answer);
    if flags != USUAL {
        parts[0] += &format!(" ({flags})");
    }
    let end = parse_query(query).map_or(12, |query| query.question_end);
    if answer.get(12..end) != query.get(12..end) || answer[..2] != query[..2] {
        parts[0] += " another question";
    }
    let own = query.get(12..end.saturating_sub(4)).unwrap_or_default();
    for (mark, records) in sections(&response) {
        if !records.is_empty() {
            parts.push(format!("{mark}{}", section(records, own)));
        }
    }
    shorten(parts.join(" | "), own)
}

fn sections(response: &Response) -> [(&'static str, &[Record]); 3] {
    [("", &response.answers), ("auth ", &response.authority), ("more ", &response.additional)]
}

fn flags(answer: &[u8]) -> String {
    let bits = u16::from_be_bytes([answer[2], answer[3]]);
    let set: Vec<&str> = FLAGS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    set.join(" ")
}

fn section(records: &[Record], own: &[u8]) -> String {
    let aliases = records.iter().take_while(|record| record.kind == CNAME).count();
    let (first, rest) = records.split_at(aliases);
    let mut texts: Vec<String> = rest.iter().map(|record| line(record, own)).collect();
    texts.sort();
    first.iter().map(|record| line(record, own)).chain(texts).collect::<Vec<_>>().join("; ")
}

/// `owner ttl TYPE data`; `@` is the name asked for.
fn line(record: &Record, own: &[u8]) -> String {
    let text = record.to_string();
    let mut words: Vec<&str> = text.split(' ').collect();
    if words.get(2) == Some(&"IN") {
        words.remove(2);
    }
    if record.owner == own {
        words[0] = "@";
    }
    if record.kind == SOA && words.len() > 5 {
        words[5] = "*";
    }
    words.join(" ")
}

/// The usual denials in one word each: `nx zone ttl`, `no zone ttl`. The zone's letters must have the question's case, and are
/// then written in lower case.
fn shorten(text: String, own: &[u8]) -> String {
    let asked = Record { owner: own.to_vec(), kind: 0, class: 1, ttl: 0, data: Vec::new() }.to_string();
    let short = || {
        let (code, rest) = text.split_once(" | auth ")?;
        let word = match code {
            "NXDOMAIN" => "nx",
            "NOERROR" => "no",
            _ => return None,
        };
        let words: Vec<&str> = rest.split(' ').collect();
        let [owner, ttl, "SOA", primary, mailbox, "*", "7200", "1800", "86400", minimum] = words[..] else {
            return None;
        };
        let zone = primary.strip_prefix("ns.dns.")?;
        let same = mailbox.strip_prefix("hostmaster.")? == zone && (owner == zone || owner == "@");
        let cased = asked.split(' ').next()?.ends_with(zone);
        let (ttl, minimum): (u32, u32) = (ttl.parse().ok()?, minimum.parse().ok()?);
        (same && cased && ttl == minimum.min(SOA_TTL_MAX))
            .then(|| format!("{word} {} {minimum}", zone.to_ascii_lowercase()))
    };
    short().unwrap_or(text)
}
