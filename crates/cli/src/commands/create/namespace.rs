//! `sluice create namespace NAME`.

use std::process::ExitCode;

use serde_json::json;

use super::{generated, metadata};
use crate::commands::{
    api::resource::Resource, connect::ConnectFlags, dry_run::ResultFlags, failure::Failure,
};

/// Arguments of `sluice create namespace`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the namespace
    name: String,
    #[command(flatten)]
    result: ResultFlags,
}

/// Runs the verb.
pub(super) async fn run(args: &Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let namespace = json!({
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": metadata(&args.name, json!({})),
        "spec": {},
        "status": {},
    });
    let resource = Resource::fixed("", "Namespace", "namespaces", false);
    generated(connect, &args.result, &resource, namespace, "namespace").await
}
