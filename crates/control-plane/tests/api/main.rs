//! The API server over real TLS on loopback, driven by kube.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod connections;
mod lists;
mod node;
mod persistence;
mod server;
mod watches;
mod writes;
