//! `sluice delete`: asks the server to delete objects, and waits until they are gone.

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    api::{JSON, Session, query::with_query, watch::Watch},
    chosen::{ChoiceFlags, Chosen},
    connect::ConnectFlags,
    dry_run::DryRun,
    failure::Failure,
    get::finish,
    go_duration, output,
};

/// How long an object may take to go when no `--timeout` was given (kubectl's week).
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Arguments of `sluice delete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE NAME…, TYPE/NAME…, or TYPE with -l or --all
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    #[command(flatten)]
    choice: ChoiceFlags,
    /// Do not wait for a graceful end
    #[arg(long)]
    force: bool,
    /// Seconds that a pod is given to end; negative for its own period
    #[arg(long, default_value_t = -1, allow_negative_numbers = true, hide_default_value = true)]
    grace_period: i64,
    /// Give the object one second
    #[arg(long, conflicts_with = "grace_period")]
    now: bool,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
    /// What happens to dependents: background, foreground, orphan
    #[arg(long, default_value = "background", num_args = 0..=1, default_missing_value = "background", require_equals = true)]
    cascade: String,
    /// How long to wait; 0 for as long as it takes
    #[arg(long, default_value = "0", hide_default_value = true)]
    timeout: String,
    /// Do not fail if an object is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Do not change anything: client (send nothing) or server (delete nothing)
    #[arg(long, value_name = "HOW", default_value = "none", num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: String,
    /// Output format: name
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let deletion = Deletion::of(&args)?;
    let session = Session::open(connect).await?;
    let chosen = args.choice.choose(&session, &args.words).await?;
    if deletion.forced {
        output::warning(
            "Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.",
        );
    }
    if chosen.is_empty() {
        output::line("No resources found")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (mut gone, mut failures) = (Vec::new(), Vec::new());
    for object in chosen {
        match deletion.delete(&session, &object).await {
            Ok(uid) => gone.push((object, uid)),
            Err(error) if error.is_not_found() && (args.ignore_not_found || args.choice.means_all()) => {}
            Err(error @ Failure::Server(_)) if object.source.is_empty() => failures.push(error),
            Err(error @ Failure::Server(_)) => {
                failures.push(error.prefixed(&format!("error when deleting {:?}: ", object.source)));
            }
            Err(error) => return Err(error),
        }
    }
    if args.wait && deletion.dry_run == DryRun::None {
        let patience =
            go_duration::parse(&args.timeout)?.filter(|given| !given.is_zero()).unwrap_or(PATIENCE);
        let deadline = Instant::now() + patience;
        for (object, uid) in &gone {
            until_gone(&session, object, uid, deadline).await?;
        }
    }
    finish(&failures)
}

struct Deletion {
    options: Value,
    forced: bool,
    dry_run: DryRun,
    names_only: bool,
}

impl Deletion {
    fn of(args: &Args) -> Result<Self, Failure> {
        let dry_run: DryRun = args.dry_run.parse()?;
        let names_only = match args.output.as_deref() {
            None | Some("") => false,
            Some("name") => true,
            Some(_) => {
                return Err(Failure::usage("unexpected -o output mode: only '-o name' is supported"));
            }
        };
        let policy = match args.cascade.as_str() {
            "background" | "true" => "Background",
            "foreground" => "Foreground",
            "orphan" | "false" => "Orphan",
            other => {
                return Err(Failure::usage(format!(
                    "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
                )));
            }
        };
        let grace = match (args.now, args.grace_period, args.force) {
            (true, _, _) => Some(1),
            (_, grace, true) if grace <= 0 => Some(0),
            (_, 0, false) => Some(1),
            (_, grace, _) => Some(grace).filter(|grace| *grace > 0),
        };
        if args.force && grace.is_some_and(|grace| grace > 0) {
            return Err(Failure::usage(
                "--force and --grace-period greater than 0 cannot be specified together",
            ));
        }
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        if let Some(grace) = grace {
            options["gracePeriodSeconds"] = grace.into();
        }
        if dry_run == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        Ok(Self { options, forced: grace == Some(0), dry_run, names_only })
    }

    /// Deletes one object, tells it, and returns its uid.
    async fn delete(&self, session: &Session, object: &Chosen) -> Result<String, Failure> {
        let answer = if self.dry_run == DryRun::Client {
            object.clone().read(session).await?.object
        } else {
            session.delete(&object.path(), &self.options).await?
        };
        self.tell(object)?;
        let uid =
            if answer["kind"] == "Status" { &answer["details"]["uid"] } else { &answer["metadata"]["uid"] };
        Ok(uid.as_str().unwrap_or_default().to_owned())
    }

    fn tell(&self, object: &Chosen) -> Result<(), Failure> {
        let kind = object.resource.qualified_kind();
        if self.names_only {
            return output::line(&format!("{kind}/{}", object.name));
        }
        let forced = if self.forced { "force " } else { "" };
        let namespace = if object.resource.namespaced {
            format!(" from {} namespace", object.namespace)
        } else {
            String::new()
        };
        let dry = match self.dry_run {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        };
        output::line(&format!("{kind} \"{}\" {forced}deleted{namespace}{dry}", object.name))
    }
}

/// Waits until the object with that uid is gone; another of the same name does not count.
pub(crate) async fn until_gone(
    session: &Session,
    object: &Chosen,
    uid: &str,
    deadline: Instant,
) -> Result<(), Failure> {
    let waiting = async {
        loop {
            match session.get(&object.path(), JSON).await {
                Ok(live) if !uid.is_empty() && live["metadata"]["uid"] != uid => return Ok(()),
                Ok(_) => deleted_event(session, object).await?,
                Err(error) if error.is_not_found() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    };
    timeout_at(deadline, waiting).await.unwrap_or_else(|_| {
        Err(Failure::usage(format!(
            "timed out waiting for the condition on {}/{}",
            object.resource.plural, object.name
        )))
    })
}

/// Returns when the object has been deleted, was not there, or the watch ended.
async fn deleted_event(session: &Session, object: &Chosen) -> Result<(), Failure> {
    let fields = format!("metadata.name={}", object.name);
    let collection = object.resource.collection(Some(&object.namespace));
    let list =
        session.get(&with_query(&collection, &[("fieldSelector", &fields), ("limit", "500")]), JSON).await?;
    if list["items"].as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let parameters = [("fieldSelector", fields.as_str()), ("resourceVersion", version), ("watch", "true")];
    let mut watch = Watch::start(session, &with_query(&collection, &parameters), JSON).await?;
    while let Some((event, _)) = watch.next().await? {
        if event == "DELETED" {
            break;
        }
    }
    Ok(())
}
