//! `sluice dns top`: who asks what of a running `sluice dns` or agent, or of all nodes of the cluster on this machine.
//!
//! Asking is what turns the counting on (`dns::tap`), and it ends soon after the last question. A node of the cluster here
//! is asked by a process of its own, because only one without threads can enter its namespaces.

mod nodes;
mod page;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;

use crate::wiring::agent::status_client;
use crate::wiring::agent::watched::Watched;
use crate::wiring::{enter, maybe_empty_path};
use nodes::Nodes;
use page::Page;

/// Names and clients that are asked for: more than are shown, so that what changes between two looks is among them.
const ASKED_FOR: usize = 512;
/// The counting ends by itself 15 s after it was last asked about.
const INTERVAL_MAX: u64 = 10;

/// Arguments of `sluice dns top`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Node of the cluster on this machine; without it, the server in this very network namespace, else all nodes
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Which cluster, when several run: the kubeconfig that it wrote
    #[arg(long, value_name = "FILE", env = "KUBECONFIG", value_parser = maybe_empty_path())]
    kubeconfig: Option<PathBuf>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=INTERVAL_MAX))]
    interval: u64,
    /// How many names, and how many clients
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    most: usize,
    /// Look once, after one interval, and end
    #[arg(long)]
    once: bool,
    /// How to print: json is one object on a line for each look
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The ways to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
    /// What the agent says, for the process that sums up nodes.
    #[value(hide = true)]
    Raw,
}

/// Where readings come from.
enum Source {
    /// The server in this network namespace.
    Here(String),
    /// A process for each node.
    Nodes(Nodes),
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut source = Source::choose(args)?;
    // The first reading turns the counting on, and is empty unless somebody watches already.
    let mut last = source.read()?;
    let live = !args.once && args.output == Output::Text && std::io::stdout().is_terminal();
    loop {
        if args.output == Output::Raw && !say(&serde_json::to_string(&last)?) {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_secs(args.interval));
        let now = source.read()?;
        let page = Page::of(source.title(), &last, &now, args.most);
        let goes_on = match args.output {
            Output::Text if live => say(&format!("\x1b[H\x1b[2J{page}")),
            Output::Text => say(&page.to_string()),
            Output::Json => say(&serde_json::to_string(&page)?),
            Output::Raw => true,
        };
        if args.once || !goes_on {
            return Ok(ExitCode::SUCCESS);
        }
        last = now;
    }
}

/// Prints; false when the reader has gone, which ends the command.
fn say(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

impl Source {
    fn choose(args: &Args) -> anyhow::Result<Self> {
        if let Some(node) = &args.node {
            enter::node(args.kubeconfig.as_deref(), node)?;
            return Ok(Self::Here(node.clone()));
        }
        if status_client::answers() {
            return Ok(Self::Here("this machine".into()));
        }
        let record = enter::cluster(args.kubeconfig.as_deref())
            .context("no server answers on 127.0.0.1:10256: start `sluice dns` or `sluice agent`")?;
        Ok(Self::Nodes(Nodes::start(record.nodes.into_keys(), &record.kubeconfig, args.interval)?))
    }

    fn read(&mut self) -> anyhow::Result<Watched> {
        match self {
            Self::Here(_) => {
                let json = status_client::ask(&format!("/watch/dns/{ASKED_FOR}"))?;
                serde_json::from_str(&json).context("reading the server's answer")
            }
            Self::Nodes(nodes) => nodes.read(),
        }
    }

    fn title(&self) -> String {
        match self {
            Self::Here(title) => title.clone(),
            Self::Nodes(nodes) => nodes.names(),
        }
    }
}
