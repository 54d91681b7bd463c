//! `sluice node`: enters a node of the cluster on this machine.

use std::process::ExitCode;

/// Arguments of `sluice node`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice node` is not in this build")
}
