//! `sluice node`: enters a node of the cluster on this machine. The hidden `node run` is the node's own process: pods,
//! service proxy and DNS of one node, started by the cluster in a network namespace of its own.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Subcommand;
use pods::NodeConfig;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::agent::{self, Agent};
use super::{cluster, enter, logging, maybe_empty_path};

/// Arguments of `sluice node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: NodeCommand,
}

#[derive(Debug, Subcommand)]
enum NodeCommand {
    /// Open a shell in a node's network namespace, where `nft list ruleset` and `conntrack -L` show its state
    Shell(ShellArgs),
    /// Be the node that the configuration on standard input describes
    #[command(hide = true)]
    Run,
}

#[derive(Debug, clap::Args)]
struct ShellArgs {
    /// Name of the node, such as worker-1
    node: String,
    /// Which cluster, when several run: the kubeconfig that it wrote
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_parser = maybe_empty_path())]
    kubeconfig: Option<std::path::PathBuf>,
    /// Run this instead of a shell
    #[arg(last = true)]
    command: Vec<String>,
}

/// Runs the command.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command {
        NodeCommand::Shell(args) => shell(&args),
        NodeCommand::Run => be_node(),
    }
}

fn shell(args: &ShellArgs) -> anyhow::Result<ExitCode> {
    enter::node(args.kubeconfig.as_deref(), &args.node)?;
    let (program, rest) = match args.command.split_first() {
        Some((program, rest)) => (program.clone(), rest),
        None => (std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".into()), &[][..]),
    };
    let error = Command::new(&program).args(rest).env("PS1", format!("{}# ", args.node)).exec();
    bail!("starting {program}: {error}")
}

fn be_node() -> anyhow::Result<ExitCode> {
    logging::start("info");
    // Re-executed by way of /proc/self/exe, it would be "exe" in `ps` and as the owner of our table in `nft list`.
    nix::sys::prctl::set_name(c"sluice-node").context("naming the process")?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("reading the node's configuration")?;
    let config: NodeConfig = serde_json::from_str(&text).context("reading the node's configuration")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(live(config))?;
    Ok(ExitCode::SUCCESS)
}

async fn live(config: NodeConfig) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    // Addresses first: the agent's DNS binds them, and the API is reached through them.
    let configured = pods::network::node::configure(config.address, config.gateway);
    configured.context("configuring the node's network")?;
    let client = cluster::kubeconfig::node_client(&config).await?;
    let agent = Agent::start(client.clone(), agent::Config::of_node(&config)).await?;
    let result = pods::run(config, client, async move {
        terminate.recv().await;
        info!("stopping");
    })
    .await;
    agent.stop();
    result.context("running the node's pods")
}
