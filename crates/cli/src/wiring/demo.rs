//! `sluice demo`: the whole lab, each claim checked.

use std::process::ExitCode;

/// Arguments of `sluice demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs the command.
pub(crate) fn run(_: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("`sluice demo` is not in this build")
}
