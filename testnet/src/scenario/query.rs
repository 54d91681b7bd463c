//! DNS lines: `podinfo.default.svc.cluster.local A => 10.96.132.79`, as `sluice dump dns` prints them.
//!
//! Answers are compared as sets, without owner and TTL; a record of another type than the one asked for says so:
//! `CNAME example.com.`

use std::fmt;

use super::text::{Line, ParseError};

/// Record types that may be asked for.
const TYPES: [&str; 9] = ["A", "AAAA", "CNAME", "SRV", "PTR", "TXT", "SOA", "NS", "ANY"];

/// What DNS must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// These records and no others, sorted: `10.96.132.79`, or `CNAME x.` when the type is not the one asked for.
    Records(Vec<String>),
    /// Neither the name nor one below it exists.
    NxDomain,
    /// The name exists, in no record of this type.
    NoData,
    /// The server cannot say.
    ServFail,
    /// The server will not say.
    Refused,
}

/// A DNS line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryCase {
    /// Line in the file, from 1.
    pub line: usize,
    /// The name asked for, without the last dot.
    pub name: String,
    /// The record type, upper case.
    pub kind: String,
    /// The right answer.
    pub expected: Expected,
}

/// Reads one DNS line.
pub(super) fn parse(line: Line<'_>) -> Result<QueryCase, ParseError> {
    let mut words = line.words();
    let name = words.need("a DNS name")?.text.trim_end_matches('.').to_owned();
    let types = format!("a record type ({})", TYPES.join(", "));
    let kind = words.need(&types)?;
    if !TYPES.contains(&kind.text) {
        return Err(kind.expected(types));
    }
    words.need_exactly("=>")?;
    let what = "`NXDOMAIN`, `NODATA`, `SERVFAIL`, `REFUSED` or records joined by `|`";
    let first = words.need(what)?;
    let expected = match first.text {
        "NXDOMAIN" => Expected::NxDomain,
        "NODATA" => Expected::NoData,
        "SERVFAIL" => Expected::ServFail,
        "REFUSED" => Expected::Refused,
        _ => {
            let mut text = first.text.to_owned();
            while let Some(word) = words.take() {
                text += &format!(" {}", word.text);
            }
            let mut records: Vec<String> = text.split(" | ").map(str::to_owned).collect();
            records.sort_unstable();
            Expected::Records(records)
        }
    };
    words.finish()?;
    Ok(QueryCase { line: line.number, name, kind: kind.text.to_owned(), expected })
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Records(records) => f.write_str(&records.join(" | ")),
            Self::NxDomain => f.write_str("NXDOMAIN"),
            Self::NoData => f.write_str("NODATA"),
            Self::ServFail => f.write_str("SERVFAIL"),
            Self::Refused => f.write_str("REFUSED"),
        }
    }
}

impl fmt::Display for QueryCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} => {}", self.name, self.kind, self.expected)
    }
}
