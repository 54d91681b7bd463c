//! `sluice completion SHELL`: a script that completes commands and flags.

use std::process::ExitCode;

use clap::ValueEnum;
use clap_complete::{Shell, generate};

use super::{failure::Failure, output};

/// Arguments of `sluice completion`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// bash, zsh, fish, elvish or powershell
    shell: String,
}

/// Runs the verb.
pub(crate) fn run(args: &Args) -> Result<ExitCode, Failure> {
    let shell = Shell::from_str(&args.shell, true)
        .map_err(|_| Failure::usage(format!("unsupported shell type {:?}", args.shell)))?;
    let mut script = Vec::new();
    generate(shell, &mut crate::command_line::command(), "sluice", &mut script);
    output::write_bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
