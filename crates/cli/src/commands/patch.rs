//! `sluice patch`: changes fields of an object by a patch.

use std::process::ExitCode;

use serde_json::Value;

use super::{
    api::{PatchKind, Session, query::with_query},
    chosen::{ChoiceFlags, Chosen},
    connect::ConnectFlags,
    dry_run::{DryRun, ResultFlags, Telling},
    failure::Failure,
    get::finish,
    print::key_order,
};

/// Arguments of `sluice patch`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE NAME, or TYPE/NAME
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    /// The patch, as JSON or YAML
    #[arg(short, long)]
    patch: Option<String>,
    /// Kind of patch: strategic, merge or json
    #[arg(long = "type", default_value = "strategic", value_name = "KIND")]
    kind: String,
    /// Patch this subresource
    #[arg(long, default_value = "", hide_default_value = true)]
    subresource: String,
    #[command(flatten)]
    choice: ChoiceFlags,
    #[command(flatten)]
    result: ResultFlags,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let kind = match args.kind.as_str() {
        "strategic" => PatchKind::Strategic,
        "merge" => PatchKind::Merge,
        "json" => PatchKind::Json,
        other => {
            return Err(Failure::usage(format!(
                "--type must be one of [json merge strategic], not {other:?}"
            )));
        }
    };
    let text = args.patch.as_deref().ok_or_else(|| {
        Failure::usage("must specify --patch or --patch-file containing the contents of the patch")
    })?;
    let patch: Value = serde_saphyr::from_str(text).map_err(|error| {
        Failure::usage(format!(
            "unable to parse {text:?}: {}",
            super::manifest::yaml_error(&error.to_string())
        ))
    })?;
    let telling = args.result.telling()?;
    let session = Session::open(connect).await?;
    let mut failures = Vec::new();
    for object in args.choice.choose(&session, &args.words).await? {
        match apply(&session, object, kind, &patch, &args.subresource, &telling).await {
            Ok(()) => {}
            Err(error @ Failure::Server(_)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    finish(&failures)
}

async fn apply(
    session: &Session,
    object: Chosen,
    kind: PatchKind,
    patch: &Value,
    subresource: &str,
    telling: &Telling,
) -> Result<(), Failure> {
    if telling.dry_run == DryRun::Client {
        return Err(Failure::usage("a patch is applied by the server: use --dry-run=server"));
    }
    let object = object.read(session).await?;
    let path =
        if subresource.is_empty() { object.path() } else { format!("{}/{subresource}", object.path()) };
    let path = with_query(&path, &[("dryRun", telling.dry_run.query()), ("fieldManager", "kubectl-patch")]);
    let patched = session.patch(&path, kind, patch).await?;
    let same = patched["metadata"]["resourceVersion"] == object.object["metadata"]["resourceVersion"];
    let done = if same { "patched (no change)" } else { "patched" };
    telling.tell(&object.resource, &key_order::sorted(&patched), done)
}
