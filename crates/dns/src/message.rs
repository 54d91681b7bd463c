//! The DNS wire format, as far as the hot path and the chain need it: a strict reader of queries, a bounded writer
//! of answers, a reader of other servers' answers.
//!
//! Nothing here allocates but [`records`], and nothing panics on any input: hostile packets are refused by name
//! ([`Refusal`]). Rare records are copied, never understood.

mod query;
pub mod records;
mod writer;

pub use query::{Edns, Query, QueryName, Refusal, parse_query};
pub(crate) use writer::{Full, Section, Writer, pointer, refuse};

/// Bytes of the header.
pub const HEADER_BYTES: usize = 12;

/// Record types that are answered here (RFC 1035, 3596, 2782, 6891).
#[allow(missing_docs, reason = "the names are the field's own")]
pub mod rtype {
    pub const A: u16 = 1;
    pub const NS: u16 = 2;
    pub const CNAME: u16 = 5;
    pub const SOA: u16 = 6;
    pub const PTR: u16 = 12;
    pub const MX: u16 = 15;
    pub const TXT: u16 = 16;
    pub const AAAA: u16 = 28;
    pub const SRV: u16 = 33;
    pub const DNAME: u16 = 39;
    pub const OPT: u16 = 41;
    pub const IXFR: u16 = 251;
    pub const AXFR: u16 = 252;
}

/// Response codes (RFC 1035 §4.1.1, 6891 §9).
#[allow(missing_docs, reason = "the names are the field's own")]
pub mod rcode {
    pub const NOERROR: u16 = 0;
    pub const FORMERR: u16 = 1;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const NOTIMP: u16 = 4;
    pub const REFUSED: u16 = 5;
    pub const BADVERS: u16 = 16;
}

/// Class IN.
pub(crate) const CLASS_IN: u16 = 1;

/// Big-endian 16 bits at `at`; `None` beyond the end.
pub(crate) fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Big-endian 32 bits at `at`; `None` beyond the end.
pub(crate) fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
