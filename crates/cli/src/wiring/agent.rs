//! `sluice agent`: service proxy and DNS for one node of any cluster.

use std::process::ExitCode;

/// Arguments of `sluice agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice agent` is not in this build")
}
