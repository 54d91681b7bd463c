//! A whole node against a real API server of ours: this process is the wire with the control plane, a child process is
//! the node. Pods run, are probed, restarted, stopped; logs and exec go through the API. As root and as an ordinary user.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test program without harness")]

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod exec;
mod failures;
mod lives;

use std::process::ExitCode;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};

use cluster::Cluster;

/// Of one run. Steps have limits of their own; this one is for a request that is never answered.
const LIMIT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    if let Some(code) = pods::dispatch() {
        return code;
    }
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    if std::env::args().nth(1).as_deref() == Some(cluster::NODE) {
        return cluster::be_a_node();
    }
    support::as_root_and_as_user(test)
}

fn test() {
    unshare(CloneFlags::CLONE_NEWNET).expect("the wire's namespace");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    let all = async {
        let cluster = Cluster::start().await;
        lives::run(&cluster).await;
        exec::run(&cluster).await;
        failures::run(&cluster).await;
        failures::stop(&cluster).await;
    };
    runtime.block_on(async { tokio::time::timeout(LIMIT, all).await }).expect("the test ends in time");
}
