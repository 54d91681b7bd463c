//! The plane against a real kernel: each test in a network namespace of its own, as root, or as an ordinary user in
//! a user namespace. Where namespaces are refused, a test says SKIPPED and why.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "the helpers of tests are tests too")]

mod namespace;
mod node;
mod objects;

mod listing;
mod load;
mod restart;
mod traffic;
mod udp;
