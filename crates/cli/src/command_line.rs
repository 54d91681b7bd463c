//! The command tree of `sluice`, and how its mistakes are reported.
//!
//! Two halves in one tree: kubectl's verbs (`commands::Verb`) and the commands of the cluster on this machine
//! (`wiring::Command`). Mistakes are told in kubectl's words and end with exit code 1, as scripts written for kubectl
//! expect; help and version end with 0. Nothing is run from here.

use std::{ffi::OsString, process::ExitCode};

mod booleans;

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
    Cluster(wiring::Command),
    /// kubectl's verbs, for any Kubernetes API.
    #[command(flatten)]
    Verb(Box<Verb>),
}

/// Reads the command line; on a mistake (or help) it has been reported, and the exit code comes back.
pub(crate) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let args = booleans::plain(&command(), args.into_iter().collect());
    let parsed = command()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command())));
    parsed.map_err(|error| report(&error))
}

/// The clap command, as `completion` needs it too.
pub(crate) fn command() -> clap::Command {
    Cli::command()
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
            eprintln!("{}", error.render().to_string().trim_end());
            ExitCode::FAILURE
        }
    }
}

/// kubectl's words for a flag that is not there.
fn unknown_flag(error: &clap::Error) -> String {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::StyledStr(text)) => text.to_string(),
        _ => String::new(),
    };
    let flag = text(ContextKind::InvalidArg);
    let usage = text(ContextKind::Usage);
    let words = usage.trim_start_matches("Usage:").split_whitespace();
    let command: Vec<&str> = words.take_while(|word| !word.starts_with(['[', '<', '-'])).collect();
    let command = command.join(" ");
    let complaint = match flag.strip_prefix('-').filter(|rest| !rest.starts_with('-')) {
        Some(letter) => format!("unknown shorthand flag: '{letter}' in {flag}"),
        None if flag.starts_with('-') => format!("unknown flag: {flag}"),
        None => format!("unexpected argument {flag:?}"),
    };
    format!("error: {complaint}\nSee '{command} --help' for usage.")
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

`sluice --help` lists every command.";

/// Prints what the program is for; the answer to `sluice` without arguments.
#[allow(clippy::print_stdout, reason = "the command line is the program's interface")]
pub(crate) fn overview() -> ExitCode {
    println!("{OVERVIEW}");
    ExitCode::SUCCESS
}
