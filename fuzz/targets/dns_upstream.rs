//! Another resolver's answer, also behind an alias of ours.

#![no_main]

use dns::chain::passed_on;
use dns::message::{parse_query, records::read_response};
use libfuzzer_sys::fuzz_target;

/// `a. A`, recursion desired.
const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";
/// The same with the answer `a. CNAME b.`
const ALIAS: &[u8] = b"\x12\x34\x81\0\0\x01\0\x01\0\0\0\0\x01a\0\0\x01\0\x01\xc0\x0c\0\x05\0\x01\0\0\0\x05\0\x03\x01b\0";

fuzz_target!(|upstream: &[u8]| {
    if let Some(response) = read_response(upstream) {
        for record in response.answers.iter().chain(&response.authority).chain(&response.additional) {
            let _ = record.to_string();
        }
    }
    let query = parse_query(QUERY).unwrap();
    for partial in [None, Some(ALIAS)] {
        let answer = passed_on(&query, partial, upstream, 512);
        assert!(answer.len() <= 512 && read_response(&answer).is_some());
    }
});
