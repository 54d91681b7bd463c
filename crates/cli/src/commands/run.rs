//! `sluice run NAME --image=IMAGE`: one pod.
//!
//! Attaching to the pod (`-i`, `-t`, `--attach`) is refused: start it, then `exec` into it.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{
    api::{Session, query::with_query, resource::Resource},
    connect::ConnectFlags,
    create::{insert_namespace, metadata, required},
    dry_run::{DryRun, ResultFlags, Telling},
    failure::Failure,
};

/// Arguments of `sluice run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Name of the pod and its container
    name: Option<String>,
    /// Image of the container
    #[arg(long)]
    image: Option<String>,
    /// Port that the container exposes
    #[arg(long)]
    port: Option<u16>,
    /// Environment variable NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Labels of the pod, k=v,k2=v2 (default run=NAME)
    #[arg(short, long, value_delimiter = ',', value_name = "LABELS")]
    labels: Vec<String>,
    /// Annotations of the pod, k=v
    #[arg(long, value_name = "NAME=VALUE")]
    annotations: Vec<String>,
    /// When the container is started again: Always, OnFailure, Never
    #[arg(long, default_value = "Always")]
    restart: String,
    /// When the image is pulled: Always, IfNotPresent, Never
    #[arg(long)]
    image_pull_policy: Option<String>,
    /// Words after the name are the command, not its arguments
    #[arg(long)]
    command: bool,
    /// Create a ClusterIP service for the pod as well
    #[arg(long)]
    expose: bool,
    /// Attach (not yet)
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Attach with a terminal (not yet)
    #[arg(short = 't', long)]
    tty: bool,
    /// Attach (not yet)
    #[arg(long)]
    attach: bool,
    /// Delete the pod after an attached run (not yet)
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    result: ResultFlags,
    /// Arguments (or command) of the container
    #[arg(value_name = "ARGS")]
    words: Vec<String>,
    /// Arguments (or command) of the container
    #[arg(last = true, value_name = "ARGS")]
    more_words: Vec<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let telling = args.result.telling()?;
    let (name, image) = check(&args, &telling)?;
    let mut objects = vec![(Resource::fixed("", "Pod", "pods", true), pod(name, image, &args)?)];
    if args.expose {
        objects.push((Resource::fixed("", "Service", "services", true), service(name, &args)?));
    }
    for (_, object) in &mut objects {
        if let Some(namespace) = &connect.namespace {
            insert_namespace(object, namespace);
        }
    }
    if telling.dry_run == DryRun::Client {
        tell_all(&telling, &objects)?;
        return Ok(ExitCode::SUCCESS);
    }
    let session = Session::open(connect).await?;
    let mut created = Vec::new();
    for (resource, object) in objects {
        let parameters = [("dryRun", telling.dry_run.query()), ("fieldManager", "kubectl-run")];
        let path = with_query(&resource.collection(Some(&session.namespace)), &parameters);
        let answer = session.post(&path, &object).await?;
        created.push((resource, answer));
    }
    tell_all(&telling, &created)?;
    Ok(ExitCode::SUCCESS)
}

fn check<'a>(args: &'a Args, telling: &Telling) -> Result<(&'a str, &'a str), Failure> {
    let image = args.image.as_deref().filter(|image| !image.is_empty()).ok_or_else(|| required("image"))?;
    let name = args.name.as_deref().ok_or_else(|| {
        Failure::usage("NAME is required for run\nSee 'sluice run -h' for help and examples")
    })?;
    if args.stdin || args.tty || args.attach || args.rm {
        if telling.dry_run != DryRun::None {
            return Err(Failure::usage(
                "--dry-run=[server|client] can't be used with attached containers options (--attach, --stdin, or --tty)",
            ));
        }
        return Err(Failure::usage(format!(
            "attaching to a new pod is not served yet: use `sluice run {name} --image={image}`, then `sluice exec -it {name} -- sh`"
        )));
    }
    if !matches!(args.restart.as_str(), "Always" | "OnFailure" | "Never") {
        return Err(Failure::usage(format!(
            "invalid restart policy: {}\nSee 'sluice run -h' for help and examples",
            args.restart
        )));
    }
    if args.expose && args.port.is_none() {
        return Err(Failure::usage("--port must be set when exposing a service"));
    }
    Ok((name, image))
}

fn pod(name: &str, image: &str, args: &Args) -> Result<Value, Failure> {
    let labels = labels(name, args)?;
    let mut container = json!({"name": name, "image": image});
    let words: Vec<&String> = args.words.iter().chain(&args.more_words).collect();
    if !words.is_empty() {
        container[if args.command { "command" } else { "args" }] = json!(words);
    }
    if let Some(port) = args.port {
        container["ports"] = json!([{"containerPort": port}]);
    }
    if !args.env.is_empty() {
        container["env"] =
            args.env.iter().map(|text| variable(text)).collect::<Result<Vec<Value>, Failure>>()?.into();
    }
    container["resources"] = json!({});
    if let Some(policy) = &args.image_pull_policy {
        container["imagePullPolicy"] = policy.clone().into();
    }
    let mut metadata = metadata(name, labels);
    let annotations = pairs(&args.annotations)?;
    if !annotations.is_empty() {
        metadata["annotations"] = Value::Object(annotations);
    }
    Ok(json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": metadata,
        "spec": {"containers": [container], "restartPolicy": args.restart, "dnsPolicy": "ClusterFirst"},
        "status": {},
    }))
}

fn labels(name: &str, args: &Args) -> Result<Value, Failure> {
    let given = pairs(&args.labels)?;
    Ok(if given.is_empty() { json!({"run": name}) } else { Value::Object(given) })
}

fn pairs(texts: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut sorted: Vec<&String> = texts.iter().filter(|text| !text.is_empty()).collect();
    sorted.sort();
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.into())),
        _ => Err(Failure::usage(format!("unexpected label spec: {text}"))),
    };
    sorted.into_iter().map(pair).collect()
}

fn variable(text: &str) -> Result<Value, Failure> {
    match text.split_once('=') {
        Some((name, "")) if !name.is_empty() => Ok(json!({"name": name})),
        Some((name, value)) if !name.is_empty() => Ok(json!({"name": name, "value": value})),
        _ => Err(Failure::usage(format!("invalid env: {text}"))),
    }
}

fn service(name: &str, args: &Args) -> Result<Value, Failure> {
    let port = args.port.unwrap_or_default();
    Ok(json!({
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": metadata(name, json!({})),
        "spec": {
            "ports": [{"protocol": "TCP", "port": port, "targetPort": port}],
            "selector": labels(name, args)?,
        },
        "status": {"loadBalancer": {}},
    }))
}

fn tell_all(telling: &Telling, objects: &[(Resource, Value)]) -> Result<(), Failure> {
    for (position, (resource, object)) in objects.iter().enumerate() {
        telling.tell_next(resource, object, "created", position == 0)?;
    }
    Ok(())
}
