//! One question to a zone without a socket: for `sluice trace`, scenarios and tests. It takes the way of every query, so
//! what it says is what the wire says.

use std::fmt;

use crate::answer::{Context, Outcome, Transport, answer};
use crate::message::records::{Record, Response, kind_name, kind_number, rcode_name, read_response};
use crate::name::{Name, NameError};
use crate::zone::Zone;

/// Why a question could not be put.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Not a domain name.
    #[error("cannot ask for this name")]
    Name(#[from] NameError),
    /// Not a record type.
    #[error("{0:?} is not a record type: use A, AAAA, SRV, PTR, CNAME, TXT, NS or SOA")]
    Kind(String),
}

/// The bytes of a question, to be sent to a server: for `sluice trace`, where only a server has the last word.
///
/// # Errors
/// [`LookupError`] when it is not one.
pub fn query(name: &str, kind: &str, id: u16) -> Result<Vec<u8>, LookupError> {
    let number = kind_number(kind).ok_or_else(|| LookupError::Kind(kind.into()))?;
    Ok(question(name.parse::<Name>()?.as_wire(), number, id))
}

/// What a server answered to a [`query`] of this id; none when it is no answer to that.
#[must_use]
pub fn read_answer(bytes: &[u8], kind: &str, id: u16) -> Option<Lookup> {
    let response = read_response(bytes).filter(|_| bytes.starts_with(&id.to_be_bytes()))?;
    Some(Lookup { kind: kind_number(kind)?, source: Source::Zone, response })
}

/// Header and question, recursion desired.
fn question(name: &[u8], kind: u16, id: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    packet.extend(name);
    packet.extend(kind.to_be_bytes());
    packet.extend([0, 1]);
    packet
}

/// Who has the last word on a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The zone, or the server that was asked.
    Zone,
    /// The chain, behind the aliases that the zone gives.
    Chase,
    /// The chain: the name is not ours.
    Forward,
}

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The record type asked for.
    pub kind: u16,
    /// Who has the last word.
    pub source: Source,
    /// The zone's answer; empty when it has none.
    pub response: Response,
}

impl Lookup {
    /// The records of the answer section.
    #[must_use]
    pub fn answers(&self) -> &[Record] {
        &self.response.answers
    }
}

impl fmt::Display for Lookup {
    /// The right side of a scenario's DNS line: `10.96.0.1 | 10.96.0.2`, `NXDOMAIN`, `NODATA`, and `forward` for names
    /// that are not ours. A record of another type than the one asked for says so: `CNAME example.com.`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers();
        if self.source == Source::Forward {
            return f.write_str("forward");
        }
        if answers.is_empty() {
            let code = self.response.rcode;
            return f.write_str(if code == 0 { "NODATA" } else { rcode_name(code) });
        }
        let mut texts: Vec<String> = answers.iter().map(|record| self.text(record)).collect();
        texts.sort_unstable();
        f.write_str(&texts.join(" | "))
    }
}

impl Lookup {
    fn text(&self, record: &Record) -> String {
        let data = record.data_text().unwrap_or_default();
        if record.kind == self.kind { data } else { format!("{} {data}", kind_name(record.kind)) }
    }
}

impl Zone {
    /// Asks for `name` and the record type `kind` (`"A"`, `"srv"` …), as a client with a large buffer would.
    ///
    /// # Errors
    /// [`LookupError`] when the question itself is not one.
    pub fn lookup(&self, name: &str, kind: &str) -> Result<Lookup, LookupError> {
        let number = kind_number(kind).ok_or_else(|| LookupError::Kind(kind.into()))?;
        Ok(self.lookup_wire(name.parse::<Name>()?.as_wire(), number))
    }

    pub(crate) fn lookup_wire(&self, name: &[u8], kind: u16) -> Lookup {
        let packet = question(name, kind, 0);
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let context = Context { transport: Transport::Tcp, synced: true, rotation: 0 };
        let outcome = answer(self, &packet, context, &mut buffer);
        let (source, length) = match outcome {
            Outcome::Reply(length) => (Source::Zone, length),
            Outcome::Chase(length) => (Source::Chase, length),
            Outcome::Silent | Outcome::Forward => (Source::Forward, 0),
        };
        Lookup { kind, source, response: read_response(&buffer[..length]).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::zone::ZoneConfig;

    #[test]
    fn the_text_is_that_of_a_scenario() {
        let zone = Zone::empty(Arc::new(ZoneConfig::cluster("cluster.local").unwrap()));
        for (name, kind, text) in [
            ("dns-version.cluster.local", "TXT", "\"1.1.0\""),
            ("cluster.local", "A", "NODATA"),
            ("nope.cluster.local", "A", "NXDOMAIN"),
            ("example.com", "A", "forward"),
            ("1.2.3.4.in-addr.arpa", "PTR", "forward"),
        ] {
            assert_eq!(zone.lookup(name, kind).unwrap().to_string(), text, "{name}");
        }
        assert!(zone.lookup("a..b", "A").is_err());
        assert!(zone.lookup("a.b", "AX").is_err());
    }
}
