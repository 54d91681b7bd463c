//! `sluice demo`: the whole lab on a fresh two-node cluster. What is typed is typed with this very program, as a user
//! would; every claim on screen is checked against the API, the kernel and the wire, and the exit code is 0 only if
//! all of them held.

mod claims;
mod lab;
mod outside;
mod screen;
mod shell;
mod tracked;
mod under_load;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::cluster::{Cluster, Options, runtime_dir};
use super::stop_signals::StopSignals;
use super::up::{ClusterFlags, runtime};
use super::{logging, privileges};
use claims::Claims;
use lab::Lab;
use screen::Screen;

/// Arguments of `sluice demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Leave the cluster up at the end and say how to use it; Ctrl-C stops it
    #[arg(long)]
    keep: bool,
    /// Port of the API on 127.0.0.1 [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    api_port: u16,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let runtime_root = runtime_dir::root();
    let flags = ClusterFlags {
        nodes: 2,
        service_cidr: "10.96.0.0/16".parse()?,
        pod_cidr: "10.244.0.0/16".parse()?,
        dns_domain: "cluster.local".into(),
        api_port: Some(args.api_port),
    };
    let options = Options::new(&flags, None, None, runtime_root)?;
    privileges::become_root()?;
    logging::start("error");
    let runtime = runtime()?;
    let code = runtime.block_on(perform(options, args.keep, began));
    // A lab that was interrupted still waits for a child; it must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    code
}

async fn perform(options: Options, keep: bool, began: Instant) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::listen()?;
    let screen = Screen::new();
    screen.heading("A cluster of two nodes on this machine");
    let cluster = tokio::select! {
        cluster = Cluster::start(options, began) => cluster?,
        code = signals.wait() => return Ok(code),
    };
    let facts = Facts {
        kubeconfig: cluster.kubeconfig.clone(),
        api_ready: cluster.api_ready,
        began,
        record: cluster.record(),
    };
    let lab = {
        let screen = screen.clone();
        tokio::task::spawn_blocking(move || Lab::new(facts, screen)?.run())
    };
    let code = tokio::select! {
        claims = lab => verdict(&screen, claims.context("the lab broke off").flatten()),
        code = signals.wait() => {
            screen.interrupt();
            cluster.stop().await;
            return Ok(code);
        }
    };
    if keep {
        screen.keep(&cluster.kubeconfig, &cluster.server);
        signals.wait().await;
    }
    cluster.stop().await;
    screen.note("the cluster is stopped and everything it made is removed");
    code
}

fn verdict(screen: &Screen, claims: anyhow::Result<Claims>) -> anyhow::Result<ExitCode> {
    let claims = claims?;
    screen.table(&claims);
    Ok(if claims.all_hold() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the lab knows of the cluster that it runs on.
pub(crate) struct Facts {
    kubeconfig: PathBuf,
    api_ready: Duration,
    began: Instant,
    record: Arc<dyn Fn() -> runtime_dir::Record + Send + Sync>,
}
