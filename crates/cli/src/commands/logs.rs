//! `sluice logs`: what containers have written, and with `-f` what they go on writing.

use std::process::ExitCode;

use futures::{StreamExt as _, stream::FuturesUnordered};
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{
    api::{Session, query::with_query},
    connect::ConnectFlags,
    failure::Failure,
    go_duration, output,
    pod_choice::{self, candidates, container, container_names, selected},
};

/// How many streams `-f` follows at most unless told otherwise (kubectl's number).
const STREAMS_MAX: usize = 5;
/// Lines per pod when pods are chosen by label (kubectl's number).
const TAIL_OF_SELECTED: i64 = 10;

/// Arguments of `sluice logs`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// POD or TYPE/NAME, and a container
    #[arg(value_name = "POD [CONTAINER]")]
    words: Vec<String>,
    /// Container
    #[arg(short, long)]
    container: Option<String>,
    /// All containers of the pod
    #[arg(long)]
    all_containers: bool,
    /// All pods of what was named
    #[arg(long)]
    all_pods: bool,
    /// Pods by label
    #[arg(short = 'l', long, value_name = "QUERY")]
    selector: Option<String>,
    /// Go on as more is written
    #[arg(short, long)]
    follow: bool,
    /// The log of the container's last run before this one
    #[arg(short, long)]
    previous: bool,
    /// A time in front of each line
    #[arg(long)]
    timestamps: bool,
    /// The pod's name in front of each line
    #[arg(long)]
    prefix: bool,
    /// Only the last lines; -1 for all
    #[arg(long, allow_negative_numbers = true)]
    tail: Option<i64>,
    /// Only what is younger, such as 10m
    #[arg(long)]
    since: Option<String>,
    /// Only what was written after this time (RFC 3339)
    #[arg(long)]
    since_time: Option<String>,
    /// At most so many bytes
    #[arg(long, default_value_t = 0, hide_default_value = true)]
    limit_bytes: u64,
    /// How many streams may be followed at once
    #[arg(long, default_value_t = STREAMS_MAX)]
    max_log_requests: usize,
    /// Go on with other streams when one fails
    #[arg(long)]
    ignore_errors: bool,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    check(&args)?;
    let session = Session::open(connect).await?;
    let streams = streams(&args, &session).await?;
    if args.follow && streams.len() > args.max_log_requests {
        return Err(Failure::usage(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests to increase the limit",
            streams.len(),
            args.max_log_requests
        )));
    }
    if args.follow {
        let mut running: FuturesUnordered<_> =
            streams.iter().map(|stream| copy(&session, stream, &args)).collect();
        while let Some(result) = running.next().await {
            tolerate(result, &args)?;
        }
    } else {
        for stream in &streams {
            tolerate(copy(&session, stream, &args).await, &args)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn check(args: &Args) -> Result<(), Failure> {
    if args.words.is_empty() && args.selector.is_none() {
        return Err(Failure::usage(
            "expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command\nSee 'sluice logs -h' for help and examples",
        ));
    }
    if !args.words.is_empty() && args.selector.is_some() {
        return Err(Failure::usage("only a selector (-l) or a POD name is allowed"));
    }
    if args.since.is_some() && args.since_time.is_some() {
        return Err(Failure::usage("at most one of `sinceTime` or `sinceSeconds` may be specified"));
    }
    if args.tail.is_some_and(|tail| tail < -1) {
        return Err(Failure::usage("--tail must be greater than or equal to -1"));
    }
    Ok(())
}

fn tolerate(result: Result<(), Failure>, args: &Args) -> Result<(), Failure> {
    match result {
        Err(error @ Failure::Server(_)) if args.ignore_errors => {
            output::remark(&error.to_string());
            Ok(())
        }
        other => other,
    }
}

/// One log.
struct LogStream {
    path: String,
    prefix: String,
}

async fn streams(args: &Args, session: &Session) -> Result<Vec<LogStream>, Failure> {
    let pods = match (&args.selector, args.words.first()) {
        (Some(labels), _) => selected(session, labels).await?,
        (None, Some(word)) => named(args, session, word).await?,
        (None, None) => Vec::new(),
    };
    if pods.is_empty() {
        output::remark(&format!("No resources found in {} namespace.", session.namespace));
    }
    let mut streams = Vec::new();
    for pod in &pods {
        let containers = if args.all_containers {
            container_names(pod).into_iter().map(|(name, _)| name).collect()
        } else {
            let wanted = args.container.as_deref().or_else(|| args.words.get(1).map(String::as_str));
            vec![container(pod, wanted, !args.all_pods)?]
        };
        for container in containers {
            streams.push(stream(args, pod, &container)?);
        }
    }
    Ok(streams)
}

async fn named(args: &Args, session: &Session, word: &str) -> Result<Vec<Value>, Failure> {
    let mut pods = candidates(session, word).await.map_err(|error| not_found(error, session))?;
    if pods.len() > 1 && !args.all_pods {
        let first = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
        output::remark(&format!("Found {} pods, using pod/{first}", pods.len()));
        pods.truncate(1);
    }
    Ok(pods)
}

/// kubectl's own words for a pod that is not there.
fn not_found(error: Failure, session: &Session) -> Failure {
    match error {
        Failure::Server(status) if status.code == 404 && status.message.starts_with("pods ") => {
            Failure::usage(format!(
                "error from server (NotFound): {} in namespace {:?}",
                status.message, session.namespace
            ))
        }
        other => other,
    }
}

fn stream(args: &Args, pod: &Value, container: &str) -> Result<LogStream, Failure> {
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    let flag = |set: bool| if set { "true" } else { "" };
    let by_label = args.selector.is_some() && !args.follow;
    let tail = args.tail.or(by_label.then_some(TAIL_OF_SELECTED)).filter(|tail| *tail >= 0);
    let tail = tail.map(|tail| tail.to_string()).unwrap_or_default();
    let since = match &args.since {
        Some(text) => go_duration::parse(text)?.unwrap_or_default().as_secs_f64().ceil().to_string(),
        None => String::new(),
    };
    let limit = if args.limit_bytes == 0 { String::new() } else { args.limit_bytes.to_string() };
    let parameters = [
        ("container", container),
        ("follow", flag(args.follow)),
        ("limitBytes", &limit),
        ("previous", flag(args.previous)),
        ("sinceSeconds", &since),
        ("sinceTime", args.since_time.as_deref().unwrap_or_default()),
        ("tailLines", &tail),
        ("timestamps", flag(args.timestamps)),
    ];
    let path = format!("{}/log", pod_choice::pods().object(text("namespace"), text("name")));
    let prefix = if args.prefix { format!("[pod/{}/{container}] ", text("name")) } else { String::new() };
    Ok(LogStream { path: with_query(&path, &parameters), prefix })
}

/// Copies a log to standard output; with a prefix line by line, else as it comes.
async fn copy(session: &Session, stream: &LogStream, args: &Args) -> Result<(), Failure> {
    let response = session.send(Method::GET, &stream.path, "*/*", None).await?;
    let mut body = response.into_body().into_data_stream();
    let whole_lines =
        !stream.prefix.is_empty() || args.follow && args.max_log_requests > 1 && args.selector.is_some();
    let mut pending = Vec::new();
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| Failure::usage(format!("the log broke off: {error}")))?;
        if !whole_lines {
            output::write_bytes(&chunk)?;
            continue;
        }
        pending.extend_from_slice(&chunk);
        if let Some(end) = pending.iter().rposition(|byte| *byte == b'\n') {
            let rest = pending.split_off(end + 1);
            write_lines(&pending, &stream.prefix)?;
            pending = rest;
        }
    }
    write_lines(&pending, &stream.prefix)
}

fn write_lines(lines: &[u8], prefix: &str) -> Result<(), Failure> {
    lines
        .split_inclusive(|byte| *byte == b'\n')
        .try_for_each(|line| output::write_bytes(&[prefix.as_bytes(), line].concat()))
}
