//! `sluice proxy`: the service proxy of one node alone.

use std::process::ExitCode;

/// Arguments of `sluice proxy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice proxy` is not in this build")
}
