//! The verbs as users run them: the real binary against a real API server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "verbs/cluster.rs"]
mod cluster;
#[path = "verbs/exec.rs"]
mod exec;
#[path = "verbs/lab.rs"]
mod lab;
#[path = "verbs/offline.rs"]
mod offline;
