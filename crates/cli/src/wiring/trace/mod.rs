//! `sluice trace`: what becomes of a connection from a pod to a name or address, step by step, and why.
//!
//! ```text
//! cluster     the sender, and what may be wrong, from the API
//! node_side   a process that enters the node: its agent's word, the kernel's, and with --live a real packet (live)
//! report      all of it, and the verdict          diagnose   the sentence for a "no"
//! text        for people
//! ```
//!
//! It decides nothing: every reason comes from the node's own agent (`agent::explanation`). It changes nothing but for the
//! one packet of `--live` and the table that marks it, which is gone before it ends.

mod cluster;
mod diagnose;
mod live;
mod node_side;
mod question;
mod report;
mod target;
mod text;

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, anyhow, bail};
use clap::ValueEnum;
use kube::Client;

use super::maybe_empty_path;
use crate::commands::ConnectFlags;
use cluster::{Asked, SenderKind};
pub(crate) use node_side::run as run_on_node;
use question::{Findings, Question};
use report::{Report, Verdict};
use target::Target;

const USAGE: &str = "sluice trace [OPTIONS] POD HOST:PORT
       sluice trace [OPTIONS] --node NAME HOST:PORT
       sluice trace [OPTIONS] --from-ip ADDRESS HOST:PORT";

/// Arguments of `sluice trace`.
#[derive(Debug, clap::Args)]
#[command(override_usage = USAGE)]
#[command(
    after_help = "Exit status: 0 the connection would go through, 1 it would not, 2 that cannot be told."
)]
pub(crate) struct Args {
    /// The pod that asks, then where: a name or address, and a port
    #[arg(required = true, num_args = 1..=2, value_names = ["POD", "HOST:PORT"])]
    words: Vec<String>,
    /// Ask as this address instead of a pod
    #[arg(long, value_name = "ADDRESS")]
    from_ip: Option<IpAddr>,
    /// Ask as a process of this node; with --from-ip, the node that the packet arrives at
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// The protocol
    #[arg(long, value_enum, default_value = "tcp")]
    proto: Proto,
    /// Send a real connection or datagram too, and follow it through the kernel
    #[arg(long)]
    live: bool,
    /// Print JSON instead
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    output: Option<Output>,
    /// Namespace of the pod
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
    /// Kubeconfig of the cluster
    #[arg(long, value_name = "FILE", value_parser = maybe_empty_path())]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Proto {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Json,
}

/// Runs the command. What keeps it from telling anything is said, and exit code 2.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let traced = trace(args).and_then(|report| {
        let text = match args.output {
            Some(Output::Json) => serde_json::to_string_pretty(&report)? + "\n",
            None => text::render(&report),
        };
        // A reader that has seen enough is no error.
        let _ = std::io::stdout().write_all(text.as_bytes());
        Ok(ExitCode::from(report.exit_code()))
    });
    Ok(traced.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
        ExitCode::from(2)
    }))
}

fn trace(args: &Args) -> anyhow::Result<Report> {
    let (pod, target) = match &args.words[..] {
        [pod, target] => (Some(pod.strip_prefix("pod/").unwrap_or(pod)), target),
        [target] => (None, target),
        _ => bail!("say `sluice trace POD HOST:PORT`"),
    };
    let protocol =
        args.proto.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let target = Target::parse(target, &protocol)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(gather(args, pod, target))
}

async fn gather(args: &Args, pod: Option<&str>, target: Target) -> anyhow::Result<Report> {
    let (client, namespace) = connect(args).await?;
    let asked = Asked {
        pod,
        from: args.from_ip,
        node: args.node.as_deref(),
        namespace: &namespace,
        to: target.address(),
    };
    cluster::check(&asked)?;
    let sender = cluster::sender(&client, &asked).await?;
    if args.live && sender.kind == SenderKind::Outside {
        bail!(
            "--live sends from a pod or a node, and {} is neither",
            args.from_ip.map_or_else(String::new, |ip| ip.to_string())
        );
    }
    let question = Question {
        kubeconfig: args.kubeconfig.clone().or_else(from_environment),
        node: sender.node.clone(),
        sender: sender.address,
        is_pod: sender.kind == SenderKind::Pod,
        target: target.clone(),
        resolver: sender.resolver.clone(),
        live: args.live,
    };
    let findings = ask_node(&question)?;
    let mut report = Report::new(sender, target, findings);
    let service = report.delivery.as_ref().and_then(|delivery| delivery.service.clone());
    if report.verdict != Verdict::Connects {
        let meant = service.or_else(|| diagnose::meant(&report));
        let facts = cluster::facts(&client, meant.as_ref()).await?;
        diagnose::explain(&mut report, &facts);
    }
    Ok(report)
}

/// The client, and the namespace in which names of pods are looked for.
async fn connect(args: &Args) -> anyhow::Result<(Client, String)> {
    // Fails only if a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let flags = ConnectFlags {
        kubeconfig: args.kubeconfig.clone().filter(|path| !path.as_os_str().is_empty()),
        context: args.context.clone(),
        namespace: args.namespace.clone(),
    };
    let told = |failure: crate::commands::Failure| {
        let text = failure.to_string();
        anyhow!("{}", text.strip_prefix("error: ").unwrap_or(&text))
    };
    let config = flags.config().await.map_err(told)?;
    let namespace = args.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    Ok((Client::try_from(config).context("preparing the connection to the API")?, namespace))
}

fn from_environment() -> Option<PathBuf> {
    let value = std::env::var_os("KUBECONFIG")?;
    std::env::split_paths(&value).find(|path| !path.as_os_str().is_empty())
}

/// Asks a fresh process, which can enter the node's namespaces: this one has threads.
fn ask_node(question: &Question) -> anyhow::Result<Findings> {
    let mut process = Command::new("/proc/self/exe")
        .arg("trace-on-node")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting the node's side of the trace")?;
    let mut input = process.stdin.take().context("the node's side of the trace has no input")?;
    input.write_all(&serde_json::to_vec(question)?).context("asking the node's side of the trace")?;
    drop(input);
    let output = process.wait_with_output().context("waiting for the node's side of the trace")?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{}", complaint.trim().trim_start_matches("error: "));
    }
    serde_json::from_slice(&output.stdout).context("reading the node's findings")
}
