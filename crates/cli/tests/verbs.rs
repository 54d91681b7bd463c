//! The verbs as users run them: the real binary against a real API server.

#[path = "verbs/cluster.rs"]
mod cluster;
#[path = "verbs/lab.rs"]
mod lab;
#[path = "verbs/offline.rs"]
mod offline;
