//! `sluice check`: what this machine can do and what will be used.

use std::process::ExitCode;

/// Arguments of `sluice check`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice check` is not in this build")
}
