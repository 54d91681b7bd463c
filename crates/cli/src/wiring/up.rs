//! `sluice up`: a cluster on this machine, in the foreground.

use std::process::ExitCode;

/// Arguments of `sluice up`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice up` is not in this build")
}
