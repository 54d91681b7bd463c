//! `sluice cleanup`: removes what a killed cluster or agent left behind.

use std::process::ExitCode;

/// Arguments of `sluice cleanup`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice cleanup` is not in this build")
}
