//! `sluice dump`: the state of one stage of a live node, in the text format of the scenarios.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::ValueEnum;

use super::agent::HEALTHZ_PORT as PORT;
use super::{enter, maybe_empty_path};

/// Arguments of `sluice dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The stage
    #[arg(value_enum)]
    stage: Stage,
    /// Node of the cluster on this machine; without it, the agent in this very network namespace, else the first node
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Which cluster, when several run: the kubeconfig that it wrote
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_parser = maybe_empty_path())]
    kubeconfig: Option<PathBuf>,
}

/// The stages of the flow, in its order.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Stage {
    /// The model: Services with their endpoints
    Services,
    /// The forwarding table of the node
    Forwarding,
    /// What the kernel holds of it, read back
    Nft,
    /// The names and their records
    Dns,
    /// Connections that were translated
    Conntrack,
}

/// How long the agent may take; a dump of 10,000 services takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command.
#[allow(clippy::print_stdout, reason = "what the command is asked to say")]
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if let Some(node) = node(&args)? {
        enter::node(args.kubeconfig.as_deref(), &node)?;
    }
    let stage = args.stage.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    let (ok, body) = ask(&format!("/dump/{stage}"))?;
    if !ok {
        bail!("{}", body.trim());
    }
    let mut out = std::io::stdout();
    // A reader that has seen enough (`| head`) is no error.
    let _ = out.write_all(body.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The node that is meant: the one asked for, else an agent right here (`None`), else the first of the cluster on this
/// machine.
fn node(args: &Args) -> anyhow::Result<Option<String>> {
    if args.node.is_some() {
        return Ok(args.node.clone());
    }
    if TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_ok() {
        return Ok(None);
    }
    Ok(enter::cluster(args.kubeconfig.as_deref()).ok().and_then(|record| record.nodes.into_keys().next()))
}

/// One HTTP/1.0 request: whether the status is 200, and the body.
fn ask(path: &str) -> anyhow::Result<(bool, String)> {
    let address = (Ipv4Addr::LOCALHOST, PORT);
    let mut stream = TcpStream::connect(address).with_context(|| {
        format!("no agent answers on 127.0.0.1:{PORT}; name a node with --node, or start `sluice agent`")
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").context("asking the agent")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading the agent's answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the agent's answer breaks off")?;
    Ok((head.split(' ').nth(1) == Some("200"), body.to_owned()))
}
