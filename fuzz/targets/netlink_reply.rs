//! Datagrams in the kernel's place.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| dataplane::fuzzing::netlink_reply(bytes));
