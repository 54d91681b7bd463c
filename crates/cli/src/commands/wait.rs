//! `sluice wait`: until a condition holds, a field has a value, or an object is there or gone.

use std::{process::ExitCode, time::Duration};

use serde_json::Value;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    api::{JSON, Session, query::with_query, watch::Watch},
    chosen::{ChoiceFlags, Chosen},
    connect::ConnectFlags,
    delete::until_gone,
    failure::Failure,
    get::{finish, name_line},
    go_duration, output,
    print::jsonpath::{self, Step},
};

/// How often `--for=create` looks (kubectl's interval).
const POLL: Duration = Duration::from_millis(500);
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// Arguments of `sluice wait`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE NAME…, TYPE/NAME…, or TYPE with -l or --all
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    /// condition=NAME[=VALUE], jsonpath='{PATH}'[=VALUE], create or delete
    #[arg(long = "for", value_name = "WHAT", default_value = "", hide_default_value = true)]
    condition: String,
    /// How long to wait for each; 0 looks once, negative waits a week
    #[arg(long, default_value = "30s", allow_hyphen_values = true)]
    timeout: String,
    #[command(flatten)]
    choice: ChoiceFlags,
    /// Output format: name
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
}

#[derive(Debug, PartialEq)]
enum Goal {
    Create,
    Delete,
    Condition { name: String, value: String },
    Field { path: Vec<Step>, value: Option<String> },
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let goal = Goal::parse(&args.condition)?;
    let patience = go_duration::parse(&args.timeout)?.unwrap_or(WEEK);
    let session = Session::open(connect).await?;
    let deadline = Instant::now() + patience;
    let chosen = chosen(&args, &session, &goal, deadline).await?;
    if chosen.is_empty() && goal != Goal::Delete {
        return Err(Failure::usage("no matching resources found"));
    }
    let mut failures = Vec::new();
    for object in chosen {
        match reach(&session, &object, &goal, deadline).await {
            Ok(true) => told(&args, &object)?,
            Ok(false) => {}
            Err(error @ (Failure::Server(_) | Failure::Usage(_))) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    finish(&failures)
}

async fn chosen(
    args: &Args,
    session: &Session,
    goal: &Goal,
    deadline: Instant,
) -> Result<Vec<Chosen>, Failure> {
    loop {
        let chosen = args.choice.choose(session, &args.words).await?;
        if !chosen.is_empty() || *goal != Goal::Create || Instant::now() >= deadline {
            return Ok(chosen);
        }
        sleep(POLL).await;
    }
}

fn told(args: &Args, object: &Chosen) -> Result<(), Failure> {
    let name = format!("{}/{}", object.resource.qualified_kind(), object.name);
    if args.output.as_deref() == Some("name") {
        output::line(&name)
    } else {
        output::line(&format!("{name} condition met"))
    }
}

impl Goal {
    fn parse(text: &str) -> Result<Self, Failure> {
        let unknown = || Failure::usage(format!("unrecognized condition: {text:?}"));
        let lower = text.to_lowercase();
        match lower.as_str() {
            "create" => return Ok(Self::Create),
            "delete" => return Ok(Self::Delete),
            _ => {}
        }
        if lower.starts_with("condition=") {
            let condition = &text["condition=".len()..];
            let (name, value) = condition.split_once('=').unwrap_or((condition, "true"));
            return Ok(Self::Condition { name: name.to_owned(), value: value.to_owned() });
        }
        if lower.starts_with("jsonpath=") {
            return Self::field(&text["jsonpath=".len()..]);
        }
        Err(unknown())
    }

    fn field(text: &str) -> Result<Self, Failure> {
        // Some shells, and people used to them, leave the quotes in.
        let text = text.replace('\'', "");
        let end = text.find('}').map_or_else(|| text.find('=').unwrap_or(text.len()), |brace| brace + 1);
        let (path, rest) = text.split_at(end);
        let value = rest.strip_prefix('=').map(|value| value.trim_matches('"').to_owned());
        if value.is_none() && !rest.is_empty() {
            return Err(Failure::usage(format!(
                "jsonpath wait format must be --for=jsonpath='{{.status.readyReplicas}}'=3 or --for=jsonpath='{{.status.readyReplicas}}', got {text}"
            )));
        }
        if value.as_deref() == Some("") {
            return Err(Failure::usage(
                "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
            ));
        }
        Ok(Self::Field { path: jsonpath::relaxed(path).map_err(Failure::usage)?, value })
    }

    fn holds(&self, object: &Value) -> Result<bool, Failure> {
        match self {
            Self::Create => Ok(true),
            Self::Delete => Ok(false),
            Self::Condition { name, value } => Ok(condition_holds(object, name, value)),
            Self::Field { path, value } => field_holds(object, path, value.as_deref()),
        }
    }
}

fn condition_holds(object: &Value, name: &str, value: &str) -> bool {
    // A controller that has not seen the newest spec speaks of an old one.
    let observed = object["status"]["observedGeneration"].as_i64();
    if observed.is_some_and(|seen| seen < object["metadata"]["generation"].as_i64().unwrap_or(0)) {
        return false;
    }
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let same = |value: &Value, text: &str| value.as_str().is_some_and(|own| own.eq_ignore_ascii_case(text));
    conditions
        .into_iter()
        .any(|condition| same(&condition["type"], name) && same(&condition["status"], value))
}

fn field_holds(object: &Value, path: &[Step], value: Option<&str>) -> Result<bool, Failure> {
    let found = jsonpath::find(path, object, object).unwrap_or_default();
    match (found.as_slice(), value) {
        ([], _) => Ok(false),
        (_, None) => Ok(true),
        ([one], Some(value)) => match one {
            Value::String(text) => Ok(text == value),
            Value::Object(_) | Value::Array(_) => {
                Err(Failure::usage("jsonpath leads to a nested object or list which is not supported"))
            }
            Value::Number(number) => Ok(number.to_string() == value),
            Value::Bool(flag) => Ok(flag.to_string() == value),
            Value::Null => Ok(value.is_empty()),
        },
        (several, Some(_)) => Err(Failure::usage(format!(
            "given jsonpath expression matches more than one value: {}",
            several.len()
        ))),
    }
}

/// Waits for the goal; false if there was nothing that could go.
async fn reach(session: &Session, object: &Chosen, goal: &Goal, deadline: Instant) -> Result<bool, Failure> {
    if *goal == Goal::Delete {
        return gone(session, object, deadline).await;
    }
    let name = format!("{}/{}", object.resource.plural, object.name);
    let on = if *goal == Goal::Create { String::new() } else { format!(" on {name}") };
    let timed_out = || Failure::usage(format!("timed out waiting for the condition{on}"));
    let first = match session.get(&object.path(), JSON).await {
        Ok(first) => Some(first),
        Err(error) if error.is_not_found() && *goal == Goal::Create => None,
        Err(error) => return Err(error),
    };
    if let Some(first) = &first
        && goal.holds(first)?
    {
        return Ok(true);
    }
    if Instant::now() >= deadline {
        return Err(timed_out());
    }
    timeout_at(deadline, watched(session, object, goal)).await.unwrap_or_else(|_| Err(timed_out()))?;
    Ok(true)
}

async fn gone(session: &Session, object: &Chosen, deadline: Instant) -> Result<bool, Failure> {
    let live = match object.clone().read(session).await {
        Ok(live) => live,
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    };
    let uid = live.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    until_gone(session, object, &uid, deadline).await.map(|()| true)
}

/// Follows the object until the goal is reached; a watch that ends is started anew.
async fn watched(session: &Session, object: &Chosen, goal: &Goal) -> Result<(), Failure> {
    let fields = format!("metadata.name={}", object.name);
    let collection = object.resource.collection(Some(&object.namespace));
    loop {
        let list = session.get(&with_query(&collection, &[("fieldSelector", &fields)]), JSON).await?;
        for item in list["items"].as_array().into_iter().flatten() {
            if goal.holds(item)? {
                return Ok(());
            }
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let parameters =
            [("fieldSelector", fields.as_str()), ("resourceVersion", version), ("watch", "true")];
        let mut watch = Watch::start(session, &with_query(&collection, &parameters), JSON).await?;
        while let Some((event, live)) = watch.next().await? {
            match event.as_str() {
                "ADDED" | "MODIFIED" if goal.holds(&live)? => return Ok(()),
                "DELETED" if *goal != Goal::Create => {
                    return Err(Failure::usage(format!(
                        "{} was deleted while waiting for it",
                        name_line(&object.resource, &live)
                    )));
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn goals_hold_for_the_right_objects() {
        let pod = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}], "n": 3}});
        let cases = [
            ("condition=Ready", true),
            ("condition=ready=true", true),
            ("condition=Ready=false", false),
            ("condition=Other", false),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath='{.status.phase}'=Running", true),
            ("jsonpath={.status.phase}=Pending", false),
            ("jsonpath={.status.n}=3", true),
            ("jsonpath={.status.phase}", true),
            ("jsonpath={.status.nope}", false),
            ("jsonpath=.status.phase=Running", true),
            ("create", true),
            ("delete", false),
        ];
        for (text, expected) in cases {
            assert_eq!(Goal::parse(text).unwrap().holds(&pod).unwrap(), expected, "{text}");
        }
        for bad in ["", "ready", "jsonpath={.a}=", "jsonpath={.a"] {
            assert!(Goal::parse(bad).is_err(), "{bad}");
        }
        let stale = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1,
            "conditions": [{"type": "Available", "status": "True"}]}});
        assert!(!Goal::parse("condition=Available").unwrap().holds(&stale).unwrap());
    }
}
