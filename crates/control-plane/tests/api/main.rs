//! The API server over real TLS on loopback, driven by kube and by real kubectl.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(clippy::print_stderr, reason = "a test that cannot run here says so")]

mod connections;
mod kubectl;
mod lists;
mod node;
mod persistence;
mod server;
mod watches;
mod writes;
