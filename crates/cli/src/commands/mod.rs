//! kubectl's verbs, as plain clients of any Kubernetes API.
//!
//! One module for each verb, with its `Args` and an async `run`; `api` holds the requests, `print` the formats. Nothing
//! here knows about the embedded cluster: a verb works with every server that its kubeconfig names.

mod age;
mod api;
mod apply;
pub(crate) mod connect;
mod create;
mod dry_run;
mod expose;
mod failure;
mod get;
mod listing;
mod manifest;
mod output;
mod print;
mod run;
mod targets;

use std::process::ExitCode;

use clap::Subcommand;

pub(crate) use connect::ConnectFlags;
use failure::Failure;

/// One of kubectl's verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Create an object from a file, or a deployment, service or namespace from flags
    Create(create::Args),
    /// Run one pod
    Run(run::Args),
    /// Put a service in front of a deployment, replica set, pod or service
    Expose(expose::Args),
    /// Bring objects to the state that a file describes
    Apply(apply::Args),
    /// Print objects
    Get(get::Args),
}

/// Runs a verb on a runtime of its own and tells what went wrong.
pub(crate) fn run(verb: Verb, connect: &ConnectFlags) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::remark(&format!("error: starting the runtime: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(dispatch(verb, connect));
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(Failure::Exit(code)) => ExitCode::from(code),
        Err(Failure::Closed) => ExitCode::FAILURE,
        Err(failure) => {
            output::remark(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(verb: Verb, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    match verb {
        Verb::Create(args) => create::run(args, connect).await,
        Verb::Run(args) => run::run(args, connect).await,
        Verb::Expose(args) => expose::run(args, connect).await,
        Verb::Apply(args) => apply::run(args, connect).await,
        Verb::Get(args) => get::run(args, connect).await,
    }
}
