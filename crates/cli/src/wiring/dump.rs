//! `sluice dump`: the state of a stage of a live node.

use std::process::ExitCode;

/// Arguments of `sluice dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice dump` is not in this build")
}
