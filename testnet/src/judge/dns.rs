//! Judge of the stages `dns` and `zone`: the zone's answers in process, byte for byte as the server would send them.
//!
//! Messages are written and read by another DNS library, so that the server's own cannot agree with itself in error.

use std::sync::Arc;

use ::dns::answer::{Context, Outcome, Transport, answer};
use ::dns::zone::{Zone, ZoneConfig};
use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, Record, RecordType};
use hickory_proto::serialize::binary::BinDecodable;

use super::{Feed, Report, Verdict};
use crate::scenario::{Expected, Facts, QueryCase, Scenario, Stage};

/// Plays the steps into a zone, and asks it every question.
#[must_use]
pub fn dns(scenario: &Scenario) -> Verdict {
    let mut report = Report::default();
    let mut feed = Feed::new(&scenario.facts);
    let mut zone = match zone(&scenario.facts) {
        Ok(zone) => zone,
        Err(error) => {
            report.fail(&scenario.file, 1, error);
            return Verdict::Judged(report);
        }
    };
    for (index, step) in scenario.steps.iter().enumerate() {
        step.events.iter().for_each(|event| feed.play(event));
        let changes = feed.model.take_changes();
        zone = zone.update(&feed.model.snapshot(), &changes, u32::try_from(index).unwrap_or(0));
        for dump in step.dumps.iter().filter(|dump| dump.stage == Stage::Zone) {
            report.compare(&scenario.file, dump, &zone.to_string());
        }
        for case in &step.queries {
            let answered = ask(&zone, case).unwrap_or_else(|problem| problem);
            let expected = case.expected.to_string();
            if answered != expected {
                report.fail(&scenario.file, case.line, format!("{case}\n    the zone answers: {answered}"));
            }
        }
    }
    Verdict::Judged(report)
}

/// The empty zone of a scenario's cluster.
///
/// # Errors
/// The facts' domain is no domain name.
pub fn zone(facts: &Facts) -> Result<Zone, String> {
    let mut config = ZoneConfig::cluster(&facts.domain).map_err(|error| error.to_string())?;
    config.local_addresses = facts.dns.iter().map(|(address, _)| (*address).into()).collect();
    Ok(Zone::empty(Arc::new(config)))
}

fn ask(zone: &Zone, case: &QueryCase) -> Result<String, String> {
    let packet = encode(case)?;
    let context = Context { transport: Transport::Udp, synced: true, rotation: 0 };
    let mut buffer = vec![0; 65_535];
    match answer(zone, &packet, context, &mut buffer) {
        Outcome::Reply(length) | Outcome::Chase(length) => decode(case, &buffer[..length]),
        // No scenario has an upstream server.
        Outcome::Forward => Ok(Expected::ServFail.to_string()),
        Outcome::Silent => Err("nothing".to_owned()),
    }
}

/// A query as a stub resolver sends it.
///
/// # Errors
/// The name or type is none.
pub fn encode(case: &QueryCase) -> Result<Vec<u8>, String> {
    let name = Name::from_ascii(format!("{}.", case.name)).map_err(|error| error.to_string())?;
    let kind: RecordType = case.kind.parse().map_err(|error| format!("{error}"))?;
    let mut message = Message::new(0x5eed, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name, kind));
    message.to_vec().map_err(|error| error.to_string())
}

/// The answer in the format of scenarios.
///
/// # Errors
/// The message is no proper answer to the question; says why.
pub fn decode(case: &QueryCase, packet: &[u8]) -> Result<String, String> {
    let message = Message::from_bytes(packet).map_err(|error| format!("no DNS message: {error}"))?;
    if message.metadata.id != 0x5eed || message.metadata.message_type != MessageType::Response {
        return Err("an answer to another question".to_owned());
    }
    let mut records: Vec<String> = message.answers.iter().map(|record| written(&case.kind, record)).collect();
    records.sort_unstable();
    let expected = match message.metadata.response_code {
        ResponseCode::NXDomain => Expected::NxDomain,
        ResponseCode::ServFail => Expected::ServFail,
        ResponseCode::Refused => Expected::Refused,
        ResponseCode::NoError if records.is_empty() => Expected::NoData,
        ResponseCode::NoError => Expected::Records(records),
        code => return Err(format!("{code}")),
    };
    let negative = matches!(expected, Expected::NxDomain | Expected::NoData);
    let starts = message.authorities.iter().filter(|record| record.record_type() == RecordType::SOA).count();
    if negative && starts != 1 {
        return Err(format!("{expected} with {starts} SOA records, though caches need one (RFC 2308)"));
    }
    Ok(expected.to_string())
}

/// `10.96.132.79`, or with its type when that is not the one asked for. Names are compared without case.
fn written(kind: &str, record: &Record) -> String {
    let data = record.data.to_string();
    match record.record_type() {
        RecordType::TXT => format!("\"{}\"", data.trim_matches('"')),
        own if own.to_string() == kind => data.to_lowercase(),
        other => format!("{other} {}", data.to_lowercase()),
    }
}
