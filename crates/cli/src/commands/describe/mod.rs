//! `sluice describe`: services, pods, deployments and nodes in kubectl's layout.
//!
//! Each description is built as text with tabs from the objects that the server sends, and aligned at the end. Other
//! kinds are refused: `get -o yaml` shows all of an object.

mod container;
mod deployment;
mod events;
mod metadata;
mod node;
mod pod;
mod quantity;
mod service;
mod volumes;

use std::process::ExitCode;

use super::{
    api::{JSON, Session, resource::Resource},
    connect::ConnectFlags,
    failure::Failure,
    get::finish,
    listing::{self, Selection},
    manifest::{self, FileFlags},
    output,
    print::elastic,
    targets::{self, Target},
};

/// Arguments of `sluice describe`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// TYPE [NAME-OR-PREFIX…], or TYPE/NAME…
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    #[command(flatten)]
    files: FileFlags,
    /// Label selector
    #[arg(short = 'l', long, value_name = "QUERY", default_value = "", hide_default_value = true)]
    selector: String,
    /// Objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Print events; not of several objects unless asked for
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    show_events: Option<bool>,
}

/// One object to describe.
struct Subject {
    resource: Resource,
    namespace: String,
    name: String,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let session = Session::open(connect).await?;
    let targets = wanted(&args, &session).await?;
    let (subjects, mut failures) = subjects(&args, &session, &targets).await?;
    let events = args.show_events.unwrap_or(subjects.len() == 1 && failures.is_empty());
    let mut first = true;
    for subject in &subjects {
        match describe(&session, subject, events).await {
            Ok(text) => {
                let gap = if std::mem::take(&mut first) { "" } else { "\n\n" };
                output::write(&format!("{gap}{text}"))?;
            }
            Err(error @ (Failure::Server(_) | Failure::Usage(_))) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    if let ([Failure::Server(_)], [_, prefix]) = (failures.as_slice(), args.words.as_slice())
        && failures[0].is_not_found()
        && by_prefix(&args, &session, &targets[0].resource, prefix).await?
    {
        return Ok(ExitCode::SUCCESS);
    }
    if subjects.is_empty() && failures.is_empty() {
        output::remark(&if args.all_namespaces {
            "No resources found".to_owned()
        } else {
            format!("No resources found in {} namespace.", session.namespace)
        });
    }
    finish(&failures)
}

async fn wanted(args: &Args, session: &Session) -> Result<Vec<Target>, Failure> {
    if !args.files.is_empty() {
        let mut targets = Vec::new();
        for object in manifest::read(&args.files)? {
            let resource = manifest::resource_of(session, &object).await?;
            targets.push(Target { resource, name: Some(object.name().to_owned()) });
        }
        return Ok(targets);
    }
    if args.words.is_empty() {
        return Err(Failure::usage(
            "You must specify the type of resource to describe. Use \"sluice api-resources\" for a complete list of supported resources.",
        ));
    }
    targets::resolve(session, &args.words).await
}

async fn subjects(
    args: &Args,
    session: &Session,
    targets: &[Target],
) -> Result<(Vec<Subject>, Vec<Failure>), Failure> {
    let (mut subjects, mut failures) = (Vec::new(), Vec::new());
    for Target { resource, name } in targets {
        let Some(name) = name else {
            subjects.extend(listed(args, session, resource).await?);
            continue;
        };
        match session.get(&resource.object(&session.namespace, name), JSON).await {
            Ok(_) => subjects.push(Subject {
                resource: resource.clone(),
                namespace: session.namespace.clone(),
                name: name.clone(),
            }),
            Err(error @ Failure::Server(_)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok((subjects, failures))
}

async fn listed(args: &Args, session: &Session, resource: &Resource) -> Result<Vec<Subject>, Failure> {
    let selection = Selection {
        namespace: (!args.all_namespaces).then(|| session.namespace.clone()),
        labels: args.selector.clone(),
        ..Selection::default()
    };
    let list = listing::list(session, resource, &selection, JSON).await?;
    let subject = |object: &serde_json::Value| Subject {
        resource: resource.clone(),
        namespace: object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned(),
        name: object["metadata"]["name"].as_str().unwrap_or_default().to_owned(),
    };
    Ok(listing::items(list, resource).iter().map(subject).collect())
}

/// Describes every object whose name begins with `prefix`; false if there is none.
async fn by_prefix(
    args: &Args,
    session: &Session,
    resource: &Resource,
    prefix: &str,
) -> Result<bool, Failure> {
    let mut found = false;
    for subject in
        listed(args, session, resource).await?.iter().filter(|subject| subject.name.starts_with(prefix))
    {
        let text = describe(session, subject, args.show_events.unwrap_or(false)).await?;
        output::write(&format!("{text}\n"))?;
        found = true;
    }
    Ok(found)
}

async fn describe(session: &Session, subject: &Subject, events: bool) -> Result<String, Failure> {
    let object = session.get(&subject.resource.object(&subject.namespace, &subject.name), JSON).await?;
    let body = match subject.resource.kind.as_str() {
        "Service" => service::describe(&object, &service::slices(session, &object).await?),
        "Pod" => pod::describe(&object),
        "Deployment" => deployment::describe(&object, &deployment::replica_sets(session, &object).await?),
        "Node" => {
            let lease = node::lease(session, &subject.name).await?;
            node::describe(&object, &lease, &node::pods(session, &subject.name).await?)
        }
        other => {
            return Err(Failure::usage(format!(
                "describe shows services, pods, deployments and nodes: use `sluice get {} {} -o yaml` for a {other}",
                subject.resource.plural, subject.name
            )));
        }
    };
    if !events {
        return Ok(elastic::align(&body));
    }
    Ok(match events::of(session, &object).await?.as_slice() {
        [] => elastic::align(&format!("{body}Events:\t<none>\n")),
        // The table of events shares no column with what stands above it.
        some => format!("{}{}", elastic::align(&body), elastic::align(&events::render(some))),
    })
}

#[cfg(test)]
mod tests;
