//! Compressed names: records of a response whose names point anywhere. What is read is whole, and reads the same again after
//! it was copied into an answer of ours.

#![no_main]

use dns::chain::passed_on;
use dns::message::parse_query;
use dns::message::records::{Record, read_response};
use libfuzzer_sys::fuzz_target;

/// `a. A`, recursion desired.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
/// The same answered with nothing.
const EMPTY: &[u8] = b"\x12\x34\x81\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
/// NS, CNAME, PTR and DNAME: their data is one name.
const NAMES: [u16; 4] = [2, 5, 12, 39];

// The first bytes are the numbers of records, so that more inputs are messages.
fuzz_target!(|bytes: &[u8]| {
    let Some((counts, rest)) = bytes.split_first_chunk::<3>() else { return };
    let mut message = EMPTY.to_vec();
    for (at, count) in [7, 9, 11].into_iter().zip(counts) {
        message[at] = count % 8;
    }
    message.extend(rest);
    let Some(response) = read_response(&message) else { return };
    let records = || response.answers.iter().chain(&response.authority).chain(&response.additional);
    for record in records() {
        assert!(is_name(&record.owner), "{record:?}");
        assert!(!NAMES.contains(&record.kind) || starts_with_name(&record.data), "{record:?}");
    }
    let query = parse_query(QUERY).unwrap();
    let copied = read_response(&passed_on(&query, None, &message, 65_535)).unwrap();
    if !copied.truncated && response.rcode == 0 {
        let parts = |record: &Record| (record.owner.to_ascii_lowercase(), record.kind, said(record));
        // OPT speaks of its own message only.
        let answers = response.answers.iter().filter(|record| record.kind != 41);
        assert!(answers.map(parts).eq(copied.answers.iter().map(parts)));
    }
});

/// The data without what a sender may have put behind the name that it should end with, and without regard to case, which
/// compression does not keep.
fn said(record: &Record) -> Vec<u8> {
    let start = match record.kind {
        2 | 5 | 12 => 0,
        15 => 2,
        _ => return record.data.to_ascii_lowercase(),
    };
    let end = record.data.get(start..).and_then(name_end);
    record.data[..end.map_or(record.data.len(), |end| start + end)].to_ascii_lowercase()
}

fn is_name(wire: &[u8]) -> bool {
    name_end(wire) == Some(wire.len()) && wire.len() <= 255
}

fn starts_with_name(wire: &[u8]) -> bool {
    name_end(wire).is_some_and(|end| end <= 255)
}

fn name_end(wire: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *wire.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += usize::from(length) + 1,
            _ => return None,
        }
    }
}
