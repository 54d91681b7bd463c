//! kubectl's verbs, as plain clients of any Kubernetes API.

pub(crate) mod connect;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use connect::ConnectFlags;

/// One of kubectl's verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Print the version of the program and of the server
    Version {},
}

/// Runs a verb.
pub(crate) fn run(verb: Verb, _connect: &ConnectFlags) -> ExitCode {
    match verb {
        Verb::Version {} => ExitCode::FAILURE,
    }
}
