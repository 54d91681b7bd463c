//! `sluice label` and `sluice annotate`: sets and removes labels or annotations.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{
    api::{PatchKind, Session, query::with_query},
    chosen::{ChoiceFlags, Chosen},
    connect::ConnectFlags,
    dry_run::{DryRun, ResultFlags, Telling},
    failure::Failure,
    get::finish,
    output,
    print::key_order,
};

/// Arguments of both verbs.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE NAME or TYPE/NAME, then KEY=VALUE to set and KEY- to remove
    #[arg(value_name = "TYPE[/NAME] KEY=VALUE", allow_hyphen_values = false)]
    words: Vec<String>,
    /// Change values that are there
    #[arg(long)]
    overwrite: bool,
    /// Print what is there after the change
    #[arg(long)]
    list: bool,
    /// Change the object only in this version
    #[arg(long, default_value = "", hide_default_value = true)]
    resource_version: String,
    #[command(flatten)]
    choice: ChoiceFlags,
    #[command(flatten)]
    result: ResultFlags,
}

/// Which part of the metadata is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Labels.
    Labels,
    /// Annotations.
    Annotations,
}

/// The changes asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

/// Runs the verb.
pub(crate) async fn run(part: Part, args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let telling = args.result.telling()?;
    let (words, changes) = split(part, &args.words)?;
    if changes == Changes::default() && !args.list {
        return Err(Failure::usage(match part {
            Part::Labels => "at least one label update is required",
            Part::Annotations => "at least one annotation update is required",
        }));
    }
    let session = Session::open(connect).await?;
    let mut failures = Vec::new();
    for object in args.choice.choose(&session, words).await? {
        let changed = async {
            let object = object.read(&session).await?;
            change(&session, part, &args, object, &changes, &telling).await
        };
        match changed.await {
            Ok(()) => {}
            Err(error @ (Failure::Server(_) | Failure::Usage(_))) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    finish(&failures)
}

/// Words that name objects, and the changes after them.
fn split(part: Part, words: &[String]) -> Result<(&[String], Changes), Failure> {
    let is_change = |word: &String| word.contains('=') || word.ends_with('-');
    let at = words.iter().position(is_change).unwrap_or(words.len());
    let mut changes = Changes::default();
    for word in &words[at..] {
        match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => changes.set.push((key.to_owned(), value.to_owned())),
            None if word.ends_with('-') => changes.remove.push(word.trim_end_matches('-').to_owned()),
            _ => {
                let what = if part == Part::Labels { "label" } else { "annotation" };
                return Err(Failure::usage(format!(
                    "unknown {what} specification: {word}: use KEY=VALUE or KEY-"
                )));
            }
        }
    }
    if let Some((key, _)) = changes.set.iter().find(|(key, _)| changes.remove.contains(key)) {
        return Err(Failure::usage(format!(
            "can not both modify and remove a label in the same command: {key}"
        )));
    }
    Ok((&words[..at], changes))
}

async fn change(
    session: &Session,
    part: Part,
    args: &Args,
    object: Chosen,
    changes: &Changes,
    telling: &Telling,
) -> Result<(), Failure> {
    let field = if part == Part::Labels { "labels" } else { "annotations" };
    let present = object.object["metadata"][field].as_object().cloned().unwrap_or_default();
    check_overwrite(part, args, changes, &present)?;
    if part == Part::Labels {
        for key in changes.remove.iter().filter(|key| !present.contains_key(*key)) {
            output::line(&format!("label {key:?} not found."))?;
        }
    }
    let patch = patch(changes, &present);
    let mut result = object.object.clone();
    if !patch.is_empty() && telling.dry_run != DryRun::Client {
        let manager = if part == Part::Labels { "kubectl-label" } else { "kubectl-annotate" };
        let path =
            with_query(&object.path(), &[("dryRun", telling.dry_run.query()), ("fieldManager", manager)]);
        let mut body = json!({"metadata": {field: patch}});
        if !args.resource_version.is_empty() {
            body["metadata"]["resourceVersion"] = args.resource_version.clone().into();
        }
        result = session.patch(&path, PatchKind::Merge, &body).await?;
    } else if !patch.is_empty() {
        merge(&mut result["metadata"][field], patch);
    }
    if args.list {
        return list(&result["metadata"][field]);
    }
    telling.tell(&object.resource, &key_order::sorted(&result), done(part, changes, &present))
}

fn merge(present: &mut Value, patch: Map<String, Value>) {
    if !present.is_object() {
        *present = json!({});
    }
    for (key, value) in patch {
        match present.as_object_mut() {
            Some(map) if value.is_null() => drop(map.shift_remove(&key)),
            Some(map) => drop(map.insert(key, value)),
            None => {}
        }
    }
}

fn check_overwrite(
    part: Part,
    args: &Args,
    changes: &Changes,
    present: &Map<String, Value>,
) -> Result<(), Failure> {
    if args.overwrite {
        return Ok(());
    }
    let differs =
        |(key, value): &&(String, String)| present.get(key).is_some_and(|old| old.as_str() != Some(value));
    let old = |key: &String| present[key].as_str().unwrap_or_default().to_owned();
    let mut told: Vec<String> = changes
        .set
        .iter()
        .filter(differs)
        .map(|(key, _)| match part {
            Part::Labels => format!("'{key}' already has a value ({}), and --overwrite is false", old(key)),
            Part::Annotations => format!("'{key}' already has a value ({})", old(key)),
        })
        .collect();
    told.sort();
    match (part, told.as_slice()) {
        (_, []) => Ok(()),
        (Part::Labels, [one]) => Err(Failure::usage(one.clone())),
        (Part::Labels, several) => Err(Failure::usage(format!("[{}]", several.join(", ")))),
        (Part::Annotations, all) => Err(Failure::usage(format!(
            "--overwrite is false but found the following declared annotation(s): {}",
            all.join("; ")
        ))),
    }
}

fn patch(changes: &Changes, present: &Map<String, Value>) -> Map<String, Value> {
    let set =
        changes.set.iter().filter(|(key, value)| present.get(key).and_then(Value::as_str) != Some(value));
    let set = set.map(|(key, value)| (key.clone(), value.clone().into()));
    let removed = changes.remove.iter().filter(|key| present.contains_key(*key));
    set.chain(removed.map(|key| (key.clone(), Value::Null))).collect()
}

fn done(part: Part, changes: &Changes, present: &Map<String, Value>) -> &'static str {
    let patch = patch(changes, present);
    match part {
        Part::Annotations => "annotated",
        Part::Labels if patch.is_empty() => "not labeled",
        Part::Labels if patch.values().all(Value::is_null) => "unlabeled",
        Part::Labels => "labeled",
    }
}

fn list(labels: &Value) -> Result<(), Failure> {
    let mut lines: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}\n", value.as_str().unwrap_or_default()))
        .collect();
    lines.sort();
    output::write(&lines.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_objects_first_and_changes_then() {
        let words: Vec<String> =
            ["pods", "a", "x=1", "y-", "z="].iter().map(|word| (*word).to_owned()).collect();
        let (objects, changes) = split(Part::Labels, &words).unwrap();
        assert_eq!(objects, ["pods", "a"]);
        let expected = Changes {
            set: vec![("x".into(), "1".into()), ("z".into(), String::new())],
            remove: vec!["y".into()],
        };
        assert_eq!(changes, expected);
        let present = json!({"y": "2", "z": ""}).as_object().cloned().unwrap();
        assert_eq!(Value::Object(patch(&changes, &present)), json!({"x": "1", "y": null}));
        assert_eq!(done(Part::Labels, &changes, &present), "labeled");
        assert!(split(Part::Labels, &["x=1".to_owned(), "x-".to_owned()]).is_err());
        assert!(split(Part::Labels, &["=1".to_owned()]).is_err());
    }
}
