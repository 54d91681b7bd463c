//! The command tree of `sluice`, and how its mistakes are reported.
//!
//! Two halves in one tree: kubectl's verbs (`commands::Verb`) and the commands of the cluster on this machine
//! (`wiring::Command`). Mistakes are told in kubectl's words and end with exit code 1, as scripts written for kubectl
//! expect; help and version end with 0. Nothing is run from here.

use std::{ffi::OsString, process::ExitCode};

mod booleans;
mod scope;

use clap::{
    CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};

use crate::{
    commands::{ConnectFlags, Verb},
    wiring,
};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    about = "The Kubernetes Service network in one program",
    disable_help_subcommand = true,
    subcommand_required = false
)]
pub(crate) struct Cli {
    /// Which cluster the verbs speak to.
    #[command(flatten)]
    pub(crate) connect: ConnectFlags,
    /// What to do; nothing prints the overview.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// One command of either half.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Commands that start, run or inspect parts on this machine.
    #[command(flatten)]
    Cluster(Box<wiring::Command>),
    /// kubectl's verbs, for any Kubernetes API.
    #[command(flatten)]
    Verb(Box<Verb>),
}

/// Reads the command line; on a mistake (or help) it has been reported, and the exit code comes back.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let args = wiring::dns::go_flags::with_two_dashes(args.into_iter().collect());
    let args = booleans::plain(&command(), args);
    let parsed = command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command())));
    parsed.map_err(|error| report(&error))
}

/// The clap command, as `completion` needs it too.
pub(crate) fn command() -> clap::Command {
    scope::without_connection(Cli::command())
}

#[allow(clippy::print_stderr, reason = "the command line is the program's interface")]
fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            // A closed pipe (`sluice --help | head -1`) is no failure.
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::UnknownArgument => {
            eprintln!("{}", unknown_flag(error));
            ExitCode::FAILURE
        }
        _ => {
            eprintln!("{}", complaint(error));
            ExitCode::FAILURE
        }
    }
}

/// clap's first paragraph on one line, and where to read on.
fn complaint(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let lines = rendered.lines().map(str::trim).take_while(|line| !line.is_empty());
    format!("{}\nSee '{} --help' for usage.", lines.collect::<Vec<_>>().join(" "), command_of(error))
}

/// kubectl's words for a flag that is not there.
fn unknown_flag(error: &clap::Error) -> String {
    let flag = context(error, ContextKind::InvalidArg);
    let complaint = match flag.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
        Some(letter) => format!("unknown shorthand flag: '{letter}' in {flag}"),
        None if flag.starts_with('-') => format!("unknown flag: {flag}"),
        None => format!("unexpected argument {flag:?}"),
    };
    format!("error: {complaint}\nSee '{} --help' for usage.", command_of(error))
}

/// The words of the command that the mistake was made in, `sluice get`.
fn command_of(error: &clap::Error) -> String {
    let usage = context(error, ContextKind::Usage);
    let usage = usage.trim_start_matches("Usage:");
    let words = usage.split_whitespace().take_while(|word| !word.starts_with(['[', '<', '-']));
    let words: Vec<&str> = words.collect();
    if words.is_empty() { "sluice".to_owned() } else { words.join(" ") }
}

fn context(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    }
}

const OVERVIEW: &str = "\
Sluice: Kubernetes Services (virtual IP, NAT, DNS) in one program.

  sluice demo                 the whole lab on a fresh two-node cluster, each claim checked
  sluice up                   a cluster on this machine, in the foreground; Ctrl-C stops it

Against that cluster, or any other (kubectl's flags and output):

  sluice create deployment podinfo --image=stefanprodan/podinfo --replicas=3 --port=9898
  sluice expose deployment podinfo --port 80 --target-port 9898
  sluice get service,endpoints -l app=podinfo
  sluice run nginx --image=nginx
  sluice exec -it nginx -- sh
  sluice trace nginx podinfo:80       why a connection works, or does not

`sluice --help` lists every command.";

/// Prints what the program is for; the answer to `sluice` without arguments.
#[allow(clippy::print_stdout, reason = "the command line is the program's interface")]
pub(crate) fn overview() -> ExitCode {
    println!("{OVERVIEW}");
    ExitCode::SUCCESS
}
