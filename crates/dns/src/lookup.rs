//! One question to a zone without a socket: for `sluice trace`, scenarios and tests. It takes the way of every query, so
//! what it says is what the wire says.

use std::fmt;

use crate::answer::{Context, Outcome, Transport, answer};
use crate::message::records::{Record, Response, kind_number, rcode_name, read_response};
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

/// What the zone says to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The zone's own answer.
    Answer(Response),
    /// An alias that leads outside: the CNAMEs so far.
    Chase(Response),
    /// The name is not ours: the forwarder's business.
    Forward,
}

impl Lookup {
    /// The records of the answer section.
    #[must_use]
    pub fn answers(&self) -> &[Record] {
        match self {
            Self::Answer(response) | Self::Chase(response) => &response.answers,
            Self::Forward => &[],
        }
    }
}

impl fmt::Display for Lookup {
    /// `10.96.0.1 10.96.0.2`, `NXDOMAIN`, `NODATA` or `forward`: the right side of a dump line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let response = match self {
            Self::Forward => return f.write_str("forward"),
            Self::Answer(response) | Self::Chase(response) => response,
        };
        if response.answers.is_empty() {
            return f.write_str(if response.rcode == 0 { "NODATA" } else { rcode_name(response.rcode) });
        }
        let texts = response.answers.iter().map(|record| record.data_text().unwrap_or_default());
        let texts: Vec<_> = texts.map(|text| text.strip_suffix('.').unwrap_or(&text).to_owned()).collect();
        f.write_str(&texts.join(", "))
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
        let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(name);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1]);
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let context = Context { transport: Transport::Tcp, synced: true, rotation: 0 };
        let outcome = answer(self, &packet, context, &mut buffer);
        let read = |length: usize| read_response(&buffer[..length]).unwrap_or_default();
        match outcome {
            Outcome::Reply(length) => Lookup::Answer(read(length)),
            Outcome::Chase(length) => Lookup::Chase(read(length)),
            Outcome::Silent | Outcome::Forward => Lookup::Forward,
        }
    }
}
