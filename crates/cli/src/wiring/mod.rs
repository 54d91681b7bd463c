//! The commands that build, run and inspect a cluster on this machine, and the wiring of the parts behind them.
//!
//! Each command is one module with its `Args` and its `run`. These start threads and namespaces; the kubectl-like verbs
//! in `commands` never do.

/// A line on standard output. A reader that has gone (`sluice up | head -1`) is no reason to end, and least of all
/// before what was made is removed.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout().lock(), $($words)*);
    }};
}

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod cleanup;
mod cluster;
pub(crate) mod demo;
pub(crate) mod dns;
pub(crate) mod dump;
mod enter;
mod logging;
pub(crate) mod node;
mod privileges;
pub(crate) mod proxy;
mod route;
mod stop_signals;
pub(crate) mod trace;
pub(crate) mod up;

use std::{io::Write, path::PathBuf, process::ExitCode};

use clap::Subcommand;
use clap::builder::{OsStringValueParser, TypedValueParser};

/// A command of the cluster on this machine.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Walk through the whole lab on a fresh two-node cluster and check each claim
    Demo(demo::Args),
    /// Run a cluster on this machine in the foreground
    Up(up::Args),
    /// Enter a node of the cluster on this machine
    Node(node::Args),
    /// Run the service proxy and DNS for one node of any cluster
    Agent(Box<agent::Args>),
    /// Run the service proxy alone
    Proxy(Box<proxy::Args>),
    /// Run the node's DNS alone
    Dns(Box<dns::Args>),
    /// Say what this machine can do and what will be used
    Check(check::Args),
    /// Remove everything that a killed cluster or agent left behind
    Cleanup(cleanup::Args),
    /// Print the state of a stage of a live node
    Dump(dump::Args),
    /// Tell step by step what becomes of a connection, and why
    Trace(Box<trace::Args>),
    /// Be the node's side of a trace, for the question on standard input
    #[command(hide = true)]
    TraceOnNode,
}

/// Runs a command and reports its error, `error: cause: deeper cause`, with exit code 1.
pub(crate) fn run(command: Command) -> ExitCode {
    let result = match command {
        Command::Demo(args) => demo::run(args),
        Command::Up(args) => up::run(args),
        Command::Node(args) => node::run(args),
        Command::Agent(args) => agent::run(*args),
        Command::Proxy(args) => proxy::run(&args),
        Command::Dns(args) => dns::run(*args),
        Command::Check(args) => check::run(args),
        Command::Cleanup(args) => cleanup::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Trace(args) => trace::run(&args),
        Command::TraceOnNode => trace::run_on_node(),
    };
    result.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr().lock(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

/// If this process was re-executed as one of our helpers, runs it and says how it ended; else `None`.
///
/// Called first of all in `main`: a helper is single-threaded and must not have run anything before.
pub(crate) fn run_as_helper() -> Option<ExitCode> {
    pods::dispatch()
}

/// A path that may be empty, which names nothing: `KUBECONFIG=` means the same as none, as with kubectl.
fn maybe_empty_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// The kubeconfig of the cluster that runs on this machine, the newest if there are several: where the verbs look when
/// neither a flag nor `KUBECONFIG` names another.
pub(crate) fn default_kubeconfig() -> Option<PathBuf> {
    let running = cluster::runtime_dir::running(&cluster::runtime_dir::root());
    running.into_iter().next().map(|record| record.kubeconfig)
}
