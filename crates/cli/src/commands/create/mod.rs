//! `sluice create`: objects from a manifest, or from flags for the kinds that the lab needs.

mod deployment;
mod namespace;
mod service;

use std::process::ExitCode;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{
    api::{Session, query::with_query, resource::Resource},
    connect::ConnectFlags,
    dry_run::{DryRun, ResultFlags, Telling},
    failure::Failure,
    get::finish,
    manifest::{self, FileFlags, ManifestObject},
    print::key_order,
};

const FIELD_MANAGER: &str = "kubectl-create";

/// Arguments of `sluice create`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    kind: Option<Kind>,
    #[command(flatten)]
    files: FileFlags,
    #[command(flatten)]
    result: ResultFlags,
    #[command(flatten)]
    validate: ValidateFlag,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Create a deployment
    #[command(visible_alias = "deploy")]
    Deployment(deployment::Args),
    /// Create a service
    #[command(visible_alias = "svc", subcommand)]
    Service(service::Kind),
    /// Create a namespace
    #[command(visible_alias = "ns")]
    Namespace(namespace::Args),
}

/// `--validate`: what the server does with unknown and duplicate fields.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ValidateFlag {
    /// Unknown and duplicate fields: strict (refuse), warn or ignore
    #[arg(long, default_value = "strict", num_args = 0..=1, default_missing_value = "strict", require_equals = true, value_name = "HOW")]
    validate: String,
}

impl ValidateFlag {
    /// The value of the query parameter `fieldValidation`.
    pub(crate) fn parameter(&self) -> Result<&'static str, Failure> {
        match self.validate.as_str() {
            "strict" | "true" => Ok("Strict"),
            "warn" => Ok("Warn"),
            "ignore" | "false" => Ok("Ignore"),
            other => Err(Failure::usage(format!(
                "invalid - validate option {other:?}; must be one of: strict (or true), warn, ignore (or false)"
            ))),
        }
    }
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    match args.kind {
        Some(Kind::Deployment(args)) => deployment::run(&args, connect).await,
        Some(Kind::Service(kind)) => service::run(kind, connect).await,
        Some(Kind::Namespace(args)) => namespace::run(&args, connect).await,
        None => from_files(&args, connect).await,
    }
}

async fn from_files(args: &Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let telling = args.result.telling()?;
    let validation = args.validate.parameter()?;
    let objects = manifest::read(&args.files)?;
    if objects.is_empty() {
        return Err(Failure::usage("no objects passed to create"));
    }
    let session = Session::open(connect).await?;
    let mut failures = Vec::new();
    for (position, object) in objects.iter().enumerate() {
        match from_file(&session, object, &telling, validation, position == 0).await {
            Ok(()) => {}
            Err(error @ (Failure::Server(_) | Failure::Usage(_))) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    finish(&failures)
}

async fn from_file(
    session: &Session,
    object: &ManifestObject,
    telling: &Telling,
    validation: &str,
    first: bool,
) -> Result<(), Failure> {
    let resource = manifest::resource_of(session, object).await?;
    let namespace = object.namespace(session)?;
    let mut value = object.value.clone();
    if resource.namespaced {
        value["metadata"]["namespace"] = namespace.clone().into();
    }
    let created = post(session, &resource, &namespace, &value, telling.dry_run, validation)
        .await
        .map_err(|error| error.prefixed(&format!("error when creating {:?}: ", object.source)))?;
    telling.tell_next(&resource, &key_order::sorted(&created), "created", first)
}

/// POSTs an object, unless nothing shall be sent.
async fn post(
    session: &Session,
    resource: &Resource,
    namespace: &str,
    object: &Value,
    dry_run: DryRun,
    validation: &str,
) -> Result<Value, Failure> {
    if dry_run == DryRun::Client {
        return Ok(object.clone());
    }
    let parameters =
        [("dryRun", dry_run.query()), ("fieldManager", FIELD_MANAGER), ("fieldValidation", validation)];
    let path = with_query(&resource.collection(Some(namespace)), &parameters);
    session.post(&path, object).await
}

/// What the generators (`create deployment …`) do with the object that they made; `what` names it in an error.
async fn generated(
    connect: &ConnectFlags,
    result: &ResultFlags,
    resource: &Resource,
    mut object: Value,
    what: &str,
) -> Result<ExitCode, Failure> {
    let telling = result.telling()?;
    if let (true, Some(namespace)) = (resource.namespaced, &connect.namespace) {
        insert_namespace(&mut object, namespace);
    }
    if telling.dry_run == DryRun::Client {
        telling.tell(resource, &object, "created")?;
        return Ok(ExitCode::SUCCESS);
    }
    let session = Session::open(connect).await?;
    let created = post(&session, resource, &session.namespace, &object, telling.dry_run, "Strict")
        .await
        .map_err(|error| {
            // kubectl's `create namespace` alone adds no words of its own.
            if matches!(error, Failure::Server(_)) && resource.kind != "Namespace" {
                Failure::usage(format!("failed to create {what}: {}", error.sentence()))
            } else {
                error
            }
        })?;
    telling.tell(resource, &created, "created")?;
    Ok(ExitCode::SUCCESS)
}

/// Metadata as kubectl 1.33 writes it, in the order of the Go struct.
pub(super) fn metadata(name: &str, labels: Value) -> Value {
    let mut metadata = json!({"name": name, "creationTimestamp": null});
    if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
        metadata["labels"] = labels;
    }
    metadata
}

/// Puts `metadata.namespace` where the Go struct has it.
pub(super) fn insert_namespace(object: &mut Value, namespace: &str) {
    let Some(metadata) = object["metadata"].as_object_mut() else { return };
    let old = std::mem::take(metadata);
    for (key, value) in old {
        let after_name = key == "name";
        metadata.insert(key, value);
        if after_name {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
    }
}

/// kubectl's complaint about a flag that must be there.
pub(super) fn required(flag: &str) -> Failure {
    Failure::usage(format!("required flag(s) {flag:?} not set"))
}
