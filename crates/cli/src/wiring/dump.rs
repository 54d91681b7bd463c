//! `sluice dump`: the state of one stage of a live node, in the text format of the scenarios.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;

use super::{agent::status_client, enter, maybe_empty_path};

/// Arguments of `sluice dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stage
    #[arg(value_enum)]
    stage: Stage,
    /// Node of the cluster on this machine; without it, the agent in this very network namespace, else the first node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Which cluster, when several run: the kubeconfig that it wrote
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_parser = maybe_empty_path())]
    kubeconfig: Option<PathBuf>,
}

/// The stages of the flow, in its order.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Stage {
    /// The model: Services with their endpoints
    Services,
    /// The forwarding table of the node
    Forwarding,
    /// What the kernel holds of it, read back
    Nft,
    /// The names and their records
    Dns,
    /// Connections that were translated
    Conntrack,
}

/// Runs the command.
#[allow(clippy::print_stdout, reason = "what the command is asked to say")]
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(node) = node(&args)? {
        enter::node(args.kubeconfig.as_deref(), &node)?;
    }
    let stage = args.stage.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let body = status_client::ask(&format!("/dump/{stage}"))?;
    let mut out = std::io::stdout();
    // A reader that has seen enough (`| head`) is no error.
    let _ = out.write_all(body.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The node that is meant: the one asked for, else an agent right here (`None`), else the first of the cluster on this
/// machine.
fn node(args: &Args) -> anyhow::Result<Option<String>> {
    if args.node.is_some() {
        return Ok(args.node.clone());
    }
    if status_client::answers() {
        return Ok(None);
    }
    Ok(enter::cluster(args.kubeconfig.as_deref()).ok().and_then(|record| record.nodes.into_keys().next()))
}
