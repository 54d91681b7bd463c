//! `sluice up`: a cluster on this machine, in the foreground, until Ctrl-C or SIGTERM.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use ipnet::Ipv4Net;

use super::cluster::{Cluster, Options, runtime_dir};
use super::stop_signals::StopSignals;
use super::{logging, privileges};

/// Arguments of `sluice up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cluster: ClusterFlags,
    /// Keep objects, revisions, certificates and addresses in this folder across restarts
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Write the kubeconfig to this file [default: a file in the cluster's runtime folder]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// The shape of a cluster.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterFlags {
    /// Number of worker nodes, 1 to 100
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) nodes: u8,
    /// Subnet of the ClusterIPs, /12 to /28
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR")]
    pub(crate) service_cidr: Ipv4Net,
    /// Subnet of the pods, /8 to /16; node n gets the n-th /24 of it
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR")]
    pub(crate) pod_cidr: Ipv4Net,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub(crate) dns_domain: String,
    /// Port of the API on 127.0.0.1; 0 takes any free one [default: 6443, or any free one if that is taken]
    #[arg(long, value_name = "PORT")]
    pub(crate) api_port: Option<u16>,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let began = Instant::now();
    let runtime_root = runtime_dir::root();
    let options = Options::new(&args.cluster, args.data_dir, args.kubeconfig, runtime_root)?;
    privileges::become_root()?;
    logging::start("warn");
    runtime()?.block_on(serve(options, began))
}

/// The runtime of the control plane's process: two threads are enough for what a development machine asks of it.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("starting the async runtime")
}

async fn serve(options: Options, began: Instant) -> anyhow::Result<ExitCode> {
    let mut signals = StopSignals::listen()?;
    let cluster = tokio::select! {
        cluster = Cluster::start(options, began) => cluster?,
        code = signals.wait() => return Ok(code),
    };
    say!("API ready at {} after {}", cluster.server, milliseconds(cluster.api_ready));
    say!();
    say!("  export KUBECONFIG={}", cluster.kubeconfig.display());
    say!("  kubectl get nodes        # or: sluice get nodes");
    say!();
    tokio::select! {
        ready = cluster.nodes_ready() => match ready {
            Ok(nodes) => say!("{nodes} nodes ready after {}; Ctrl-C stops the cluster", milliseconds(began.elapsed())),
            Err(error) => say!("the nodes are not ready: {error:#}"),
        },
        _ = signals.wait() => return stop(cluster).await,
    }
    signals.wait().await;
    stop(cluster).await
}

async fn stop(cluster: Cluster) -> anyhow::Result<ExitCode> {
    say!("stopping");
    cluster.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// `123 ms`.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
