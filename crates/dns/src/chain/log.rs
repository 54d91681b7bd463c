//! `log` and `errors`: one line for each query, in CoreDNS's form, and one for each failure.

use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::ask::{Reply, is_within, name_text};
use crate::answer::Transport;
use crate::corefile::{ErrorsConfig, LogClass, LogRule};
use crate::message::records::{kind_name, rcode_name, read_response};
use crate::message::{Query, rcode, read_u16, rtype};

/// Where lines go.
pub type Sink = Arc<dyn Fn(&str) + Send + Sync>;

/// A query with its answer, as the log sees it.
pub(super) struct Line<'l> {
    pub(super) query: &'l Query<'l>,
    pub(super) peer: std::net::SocketAddr,
    pub(super) local: &'l str,
    pub(super) transport: Transport,
    pub(super) answer: &'l [u8],
    pub(super) rcode: u16,
    pub(super) duration: Duration,
}

/// Adds the line of every rule that wants this query.
pub(super) fn log(rules: &[LogRule], class: LogClass, line: &Line<'_>, lines: &mut String) {
    for rule in rules.iter().filter(|rule| rule.wants(class)) {
        if is_within(line.query.name.wire(), rule.zone.as_wire()) {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "[INFO] {}", line.fill(&rule.format));
        }
    }
}

/// The class of an answer, as CoreDNS has it: no data is a denial when the zone's SOA record says so.
pub(super) fn classify(answer: &[u8]) -> LogClass {
    let code = u16::from(answer.get(3).copied().unwrap_or(0) & 0x0f);
    let count = |at| read_u16(answer, at).unwrap_or(0);
    let has_soa = || {
        let response = read_response(answer);
        response.is_some_and(|response| response.authority.iter().any(|record| record.kind == rtype::SOA))
    };
    match code {
        rcode::NOERROR if count(6) == 0 && count(8) > 0 && has_soa() => LogClass::Denial,
        rcode::NOERROR => LogClass::Success,
        rcode::NXDOMAIN => LogClass::Denial,
        _ => LogClass::Error,
    }
}

impl Line<'_> {
    /// The format with its `{placeholders}` filled; an unknown one stays.
    fn fill(&self, format: &str) -> String {
        let mut text = String::with_capacity(format.len() + 64);
        let mut rest = format;
        while let Some(start) = rest.find('{') {
            let Some(length) = rest[start..].find('}') else { break };
            text.push_str(&rest[..start]);
            let word = &rest[start..=start + length];
            match self.value(word) {
                Some(value) => text.push_str(&value),
                None => text.push_str(word),
            }
            rest = &rest[start + length + 1..];
        }
        text.push_str(rest);
        text
    }

    fn value(&self, word: &str) -> Option<String> {
        let query = self.query;
        let edns = query.edns;
        Some(match word {
            "{type}" => kind_name(query.qtype),
            "{name}" => name_text(query.name.wire()),
            "{class}" if query.qclass == 1 => "IN".into(),
            "{class}" => format!("CLASS{}", query.qclass),
            "{proto}" if self.transport == Transport::Udp => "udp".into(),
            "{proto}" => "tcp".into(),
            "{size}" => query.bytes.len().to_string(),
            "{remote}" if self.peer.is_ipv6() => format!("[{}]", self.peer.ip()),
            "{remote}" => self.peer.ip().to_string(),
            "{port}" => self.peer.port().to_string(),
            "{local}" => self.local.to_owned(),
            "{>id}" => u16::from_be_bytes([query.bytes[0], query.bytes[1]]).to_string(),
            "{>opcode}" => "0".into(),
            "{>do}" => edns.is_some_and(|edns| edns.dnssec_ok).to_string(),
            "{>bufsize}" => edns.map_or(512, |edns| edns.udp_size).to_string(),
            "{rcode}" => rcode_name(self.rcode).into(),
            "{rsize}" => self.answer.len().to_string(),
            "{>rflags}" => flags(self.answer),
            "{duration}" => format!("{:.9}s", self.duration.as_secs_f64()),
            // Metadata of other plugins, which nobody provides: as CoreDNS without them.
            word if word.starts_with("{/") => "-".into(),
            _ => return None,
        })
    }
}

/// The header's flags by their names, as CoreDNS writes them.
fn flags(answer: &[u8]) -> String {
    let [first, second] = [answer.get(2).copied().unwrap_or(0), answer.get(3).copied().unwrap_or(0)];
    let names = [
        ("qr", first & 0x80),
        ("aa", first & 0x04),
        ("tc", first & 0x02),
        ("rd", first & 0x01),
        ("ra", second & 0x80),
        ("ad", second & 0x20),
        ("cd", second & 0x10),
    ];
    let set: Vec<&str> = names.iter().filter(|(_, bit)| *bit != 0).map(|(name, _)| *name).collect();
    set.join(",")
}

/// The `errors` of one block.
pub(super) struct Errors {
    config: ErrorsConfig,
    /// For each rule: how many matched since when.
    held: Mutex<Vec<(u64, Instant)>>,
}

impl Errors {
    pub(super) fn new(config: &ErrorsConfig) -> Self {
        let held = config.consolidate.iter().map(|_| (0, Instant::now())).collect();
        Self { config: config.clone(), held: Mutex::new(held) }
    }

    /// Tells why a query failed, unless such failures are told together.
    pub(super) fn log(&self, query: &Query<'_>, reply: &Reply, sink: &Sink) {
        let Some(error) = &reply.error else { return };
        let matching = self.config.consolidate.iter().position(|(_, pattern)| pattern.is_match(error));
        let Some(index) = matching else {
            let (code, name) = (reply.response.rcode, name_text(query.name.wire()));
            return sink(&format!(
                "[ERROR] plugin/errors: {code} {name} {}: {error}",
                kind_name(query.qtype)
            ));
        };
        let (period, pattern) = &self.config.consolidate[index];
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = &mut held[index];
        if *count == 0 {
            *since = Instant::now();
        }
        *count += 1;
        if since.elapsed() >= *period {
            sink(&format!(
                "[ERROR] plugin/errors: {count} errors like '{pattern}' occurred in last {period:?}"
            ));
            *count = 0;
        }
    }
}
