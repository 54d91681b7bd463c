//! `sluice get`: objects as the server's tables, or in one of the output formats.
//!
//! The server decides columns and cells; this verb decides which rows, which columns and how they stand.

mod sort;
mod tables;
mod watch;

use std::process::ExitCode;

use serde_json::Value;

use super::{
    api::{JSON, Session, TABLE, resource::Resource},
    connect::ConnectFlags,
    failure::Failure,
    listing::{self, Selection},
    manifest::{self, FileFlags},
    output,
    print::{
        key_order,
        output_format::{OutputFormat, list_of},
    },
    targets::{self, Target},
};

/// Arguments of `sluice get`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE[,TYPE…] [NAME…], or TYPE/NAME…
    #[arg(value_name = "TYPE[/NAME]")]
    pub(crate) words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    /// Output format: wide, yaml, json, name, jsonpath=…, custom-columns=…
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    /// Label selector, `key=value,key2!=value2`
    #[arg(short = 'l', long, value_name = "QUERY", default_value = "")]
    selector: String,
    /// Field selector, `metadata.name=x`
    #[arg(long, value_name = "QUERY", default_value = "")]
    field_selector: String,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Go on printing as objects change
    #[arg(short, long)]
    watch: bool,
    /// Print only changes, not what is there
    #[arg(long)]
    watch_only: bool,
    /// Print the type of each event of a watch
    #[arg(long)]
    output_watch_events: bool,
    /// Print labels as the last column
    #[arg(long)]
    show_labels: bool,
    /// Labels to print as columns
    #[arg(short = 'L', long, value_delimiter = ',', value_name = "KEYS")]
    label_columns: Vec<String>,
    /// Print the kind in front of names
    #[arg(long)]
    show_kind: bool,
    /// Print no header line
    #[arg(long)]
    no_headers: bool,
    /// Order by a field, `.metadata.name`
    #[arg(long, value_name = "JSONPATH")]
    sort_by: Option<String>,
    /// Do not fail if an object is not there
    #[arg(long)]
    ignore_not_found: bool,
    /// Print what the server answers at this path
    #[arg(long, value_name = "PATH")]
    raw: Option<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let format = OutputFormat::of_lists(args.output.as_deref())?;
    let session = Session::open(connect).await?;
    if let Some(path) = &args.raw {
        output::write_bytes(&session.get_bytes(path).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let targets = wanted(&args, &session).await?;
    if args.watch || args.watch_only {
        return watch::run(&args, &session, &targets, &format).await;
    }
    let (found, failures) = fetch(&args, &session, &targets, &format).await?;
    if format.is_table() {
        let text = tables::render(&found, &args, &format)?;
        if text.is_empty() && failures.is_empty() && !args.ignore_not_found {
            output::remark(&nothing_found(&args, &session, &targets));
        }
        output::write(&text)?;
    } else {
        print_objects(&args, &targets, found, failures.is_empty(), &format)?;
    }
    finish(&failures)
}

async fn wanted(args: &Args, session: &Session) -> Result<Vec<Target>, Failure> {
    if !args.files.is_empty() {
        let objects = manifest::read(&args.files)?;
        let mut targets = Vec::new();
        for object in &objects {
            let resource = manifest::resource_of(session, object).await?;
            targets.push(Target { resource, name: Some(object.name().to_owned()) });
        }
        return Ok(targets);
    }
    if args.words.is_empty() {
        return Err(Failure::Plain(
            "You must specify the type of resource to get. Use \"sluice api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.\nSee 'sluice get -h' for help and examples".to_owned(),
        ));
    }
    let targets = targets::resolve(session, &args.words).await?;
    if args.all_namespaces && targets.iter().any(|target| target.name.is_some()) {
        return Err(Failure::usage("a resource cannot be retrieved by name across all namespaces"));
    }
    Ok(targets)
}

type Found = (Resource, Value);

async fn fetch(
    args: &Args,
    session: &Session,
    targets: &[Target],
    format: &OutputFormat,
) -> Result<(Vec<Found>, Vec<Failure>), Failure> {
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for target in targets {
        match fetch_one(args, session, target, format).await {
            Ok(value) => found.push((target.resource.clone(), value)),
            Err(error) if error.is_not_found() && args.ignore_not_found => {}
            // A server that cannot be reached answers no other question either.
            Err(error @ Failure::Server(_)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok((found, failures))
}

async fn fetch_one(
    args: &Args,
    session: &Session,
    target: &Target,
    format: &OutputFormat,
) -> Result<Value, Failure> {
    let accept = if format.is_table() { TABLE } else { JSON };
    match &target.name {
        Some(name) => session.get(&target.resource.object(&session.namespace, name), accept).await,
        None => listing::list(session, &target.resource, &selection(args, session), accept).await,
    }
}

fn selection(args: &Args, session: &Session) -> Selection {
    Selection {
        namespace: (!args.all_namespaces).then(|| session.namespace.clone()),
        labels: args.selector.clone(),
        fields: args.field_selector.clone(),
        include_object: if args.sort_by.is_some() { "Object" } else { "" },
    }
}

fn nothing_found(args: &Args, session: &Session, targets: &[Target]) -> String {
    let namespaced = targets.iter().all(|target| target.resource.namespaced);
    if namespaced && !args.all_namespaces {
        format!("No resources found in {} namespace.", session.namespace)
    } else {
        "No resources found".to_owned()
    }
}

fn print_objects(
    args: &Args,
    targets: &[Target],
    found: Vec<Found>,
    complete: bool,
    format: &OutputFormat,
) -> Result<(), Failure> {
    let single = targets.len() == 1 && targets[0].name.is_some();
    let mut objects = Vec::new();
    for (resource, value) in found {
        if value["items"].is_array() {
            objects.extend(listing::items(value, &resource).into_iter().map(|item| (resource.clone(), item)));
        } else {
            objects.push((resource, value));
        }
    }
    if let Some(path) = &args.sort_by {
        sort::objects(&mut objects, path)?;
    }
    if single && objects.is_empty() && (!complete || args.ignore_not_found) {
        return Ok(());
    }
    match format {
        OutputFormat::Name => {
            let lines = objects.iter().map(|(resource, object)| format!("{}\n", name_line(resource, object)));
            output::write(&lines.collect::<String>())
        }
        OutputFormat::Columns(columns) => {
            let values: Vec<Value> = objects.into_iter().map(|(_, object)| object).collect();
            output::write(&columns.render(&values, !args.no_headers).map_err(Failure::usage)?)
        }
        _ if single => output::write(&format.render(&key_order::sorted(&objects[0].1), "")?),
        _ => {
            let values: Vec<Value> = objects.into_iter().map(|(_, object)| object).collect();
            output::write(&format.render(&list_of(&values), "")?)
        }
    }
}

/// `service/podinfo`, the line of `-o name`.
pub(crate) fn name_line(resource: &Resource, object: &Value) -> String {
    format!("{}/{}", resource.qualified_kind(), object["metadata"]["name"].as_str().unwrap_or_default())
}

/// Tells what failed, after what was found has been printed.
pub(crate) fn finish(failures: &[Failure]) -> Result<ExitCode, Failure> {
    for failure in failures {
        output::remark(&failure.to_string());
    }
    if failures.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failure::Exit(1)) }
}
