//! kubectl's verbs, as plain clients of any Kubernetes API.
//!
//! One module for each verb, with its `Args` and an async `run`; `api` holds the requests, `print` the formats. Nothing
//! here knows about the embedded cluster: a verb works with every server that its kubeconfig names.

mod age;
mod api;
mod api_resources;
mod apply;
mod chosen;
mod cluster_info;
mod completion;
pub(crate) mod connect;
mod create;
mod delete;
mod describe;
mod dry_run;
mod exec;
mod expose;
mod failure;
mod get;
pub(crate) mod go_duration;
mod label;
mod listing;
mod logs;
mod manifest;
mod output;
mod patch;
mod pod_choice;
mod print;
mod refused;
mod rollout;
mod run;
mod scale;
mod targets;
mod version;
mod wait;

use std::{ffi::OsString, process::ExitCode};

use clap::Subcommand;

pub(crate) use connect::ConnectFlags;
pub(crate) use failure::Failure;

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
    /// Print services, pods, deployments and nodes in detail
    Describe(describe::Args),
    /// Delete objects and wait until they are gone
    Delete(delete::Args),
    /// Set the number of pods of a deployment or replica set
    Scale(scale::Args),
    /// Set and remove labels
    Label(label::Args),
    /// Set and remove annotations
    Annotate(label::Args),
    /// Change fields of an object
    Patch(patch::Args),
    /// Run a command in a container
    Exec(exec::Args),
    /// Print the log of a container
    Logs(logs::Args),
    /// Wait until a condition holds
    Wait(wait::Args),
    /// Follow or start the rollout of a deployment
    Rollout(rollout::Args),
    /// Print what the server serves
    ApiResources(api_resources::Args),
    /// Print where the API and the cluster's services answer
    ClusterInfo(cluster_info::Args),
    /// Print the version of the program and of the server
    Version(version::Args),
    /// Print a script that completes commands in a shell
    Completion(completion::Args),
    /// Any other word.
    #[command(external_subcommand)]
    Other(Vec<OsString>),
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
        Verb::Describe(args) => describe::run(args, connect).await,
        Verb::Delete(args) => delete::run(args, connect).await,
        Verb::Scale(args) => scale::run(args, connect).await,
        Verb::Label(args) => label::run(label::Part::Labels, args, connect).await,
        Verb::Annotate(args) => label::run(label::Part::Annotations, args, connect).await,
        Verb::Patch(args) => patch::run(args, connect).await,
        Verb::Exec(args) => exec::run(args, connect).await,
        Verb::Logs(args) => logs::run(args, connect).await,
        Verb::Wait(args) => wait::run(args, connect).await,
        Verb::Rollout(args) => rollout::run(args, connect).await,
        Verb::ApiResources(args) => api_resources::run(args, connect).await,
        Verb::ClusterInfo(args) => cluster_info::run(args, connect).await,
        Verb::Version(args) => version::run(args, connect).await,
        Verb::Completion(args) => completion::run(&args),
        Verb::Other(words) => refused::run(&words),
    }
}
