//! `sluice scale`: sets the number of pods of a deployment or replica set.

use std::process::ExitCode;

use serde_json::json;

use super::{
    api::{JSON, PatchKind, Session, query::with_query},
    chosen::{ChoiceFlags, Chosen},
    connect::ConnectFlags,
    dry_run::{DryRun, ResultFlags, Telling},
    failure::Failure,
    get::finish,
    print::key_order,
};

/// Arguments of `sluice scale`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE NAME, or TYPE/NAME…
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    /// Number of pods
    #[arg(long, allow_negative_numbers = true)]
    replicas: Option<i64>,
    /// Scale only if this is the present number
    #[arg(long)]
    current_replicas: Option<i64>,
    #[command(flatten)]
    choice: ChoiceFlags,
    #[command(flatten)]
    result: ResultFlags,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let replicas = args.replicas.ok_or_else(|| super::create::required("replicas"))?;
    if replicas < 0 {
        return Err(Failure::usage(
            "The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0",
        ));
    }
    let telling = args.result.telling()?;
    let session = Session::open(connect).await?;
    let chosen = args.choice.choose(&session, &args.words).await?;
    if chosen.is_empty() {
        return Err(Failure::usage("no objects passed to scale"));
    }
    let mut failures = Vec::new();
    for object in chosen {
        match scale(&session, object, replicas, args.current_replicas, &telling).await {
            Ok(()) => {}
            Err(error @ Failure::Server(_)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    finish(&failures)
}

async fn scale(
    session: &Session,
    object: Chosen,
    replicas: i64,
    expected: Option<i64>,
    telling: &Telling,
) -> Result<(), Failure> {
    let mut object = object.read(session).await?;
    let path = with_query(&format!("{}/scale", object.path()), &[("dryRun", telling.dry_run.query())]);
    if let Some(expected) = expected {
        let scale = session.get(&path, JSON).await?;
        let present = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if present != expected {
            return Err(Failure::usage(format!("Expected replicas to be {expected}, was {present}")));
        }
    }
    if telling.dry_run != DryRun::Client {
        let patch = json!({"spec": {"replicas": replicas}});
        session.patch(&path, PatchKind::Merge, &patch).await?;
    }
    object.object["spec"]["replicas"] = replicas.into();
    telling.tell(&object.resource, &key_order::sorted(&object.object), "scaled")
}
