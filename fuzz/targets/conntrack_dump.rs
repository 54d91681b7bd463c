//! Dumps of connection tracking.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dataplane::fuzzing::conntrack_dump(bytes));
