//! `sluice exec`: a command in a container, with its input, output, terminal and exit code.

mod channels;
mod terminal;

use std::process::ExitCode;

use http::Request;

use super::{
    api::{Session, query::encode},
    connect::ConnectFlags,
    failure::{Failure, ServerStatus},
    output,
    pod_choice::{candidates, container, pods},
};
use terminal::Terminal;

/// Arguments of `sluice exec`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    words: Vec<String>,
    /// Container
    #[arg(short, long)]
    container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Give the command a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// No remarks of our own
    #[arg(short, long)]
    quiet: bool,
    /// Command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs the verb.
pub(crate) async fn run(args: Args, connect: &ConnectFlags) -> Result<ExitCode, Failure> {
    let word = check(&args)?;
    let session = Session::open(connect).await?;
    let pods = candidates(&session, word).await?;
    let pod = &pods[0];
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        return Err(Failure::usage(format!(
            "cannot exec into a container in a completed pod; current phase is {phase}"
        )));
    }
    let container = container(pod, args.container.as_deref(), !args.quiet)?;
    let tty = args.tty && Terminal::is_input(args.quiet);
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let path = path(&session.namespace, name, &container, &args, tty);
    let request = Request::get(path).body(Vec::new()).map_err(|error| Failure::usage(error.to_string()))?;
    let connection = session.client().connect(request).await.map_err(|error| refused(&session, error))?;
    let terminal = if tty { Terminal::raw() } else { None };
    let end = channels::copy(connection, args.stdin, tty).await;
    drop(terminal);
    channels::exit_code(&end?)
}

fn check(args: &Args) -> Result<&str, Failure> {
    match (args.words.as_slice(), args.command.as_slice()) {
        ([], _) => Err(Failure::usage("pod, type/name or --filename must be specified")),
        ([_], []) => Err(Failure::usage("you must specify at least one command for the container")),
        ([word], _) => Ok(word),
        ([word, ..], _) => Err(Failure::usage(format!(
            "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead, such as `sluice exec {word} -- {}`\nSee 'sluice exec -h' for help and examples",
            args.words[1..].join(" ")
        ))),
    }
}

fn path(namespace: &str, pod: &str, container: &str, args: &Args, tty: bool) -> String {
    let mut query: Vec<String> =
        args.command.iter().map(|word| format!("command={}", encode(word))).collect();
    query.push(format!("container={}", encode(container)));
    if args.stdin {
        query.push("stdin=true".to_owned());
    }
    query.push("stdout=true".to_owned());
    // A terminal has one output.
    query.push(if tty { "tty=true".to_owned() } else { "stderr=true".to_owned() });
    format!("{}/exec?{}", pods().object(namespace, pod), query.join("&"))
}

fn refused(session: &Session, error: kube::Error) -> Failure {
    match error {
        kube::Error::Api(status) => Failure::Server(Box::new(ServerStatus {
            message: status.message.clone(),
            reason: status.reason.clone(),
            code: status.code,
            details: serde_json::Value::Null,
        })),
        kube::Error::UpgradeConnection(error) => {
            Failure::usage(format!("unable to upgrade connection: {error}"))
        }
        other => session.unreachable(&other),
    }
}

/// Tells how a command ended that did not end well.
fn told(text: &str) {
    output::remark(text);
}
