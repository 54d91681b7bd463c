//! `sluice dns`: the DNS of one node alone.

use std::process::ExitCode;

/// Arguments of `sluice dns`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice dns` is not in this build")
}
