//! The `sluice` program: the Kubernetes Service network in one binary.
//!
//! Three things happen here and nothing else: a process that was re-executed as a helper goes its own way before any
//! thread exists, the command line is read, and the chosen command is run. Commands that speak to a Kubernetes API
//! live in `commands`, commands that build and inspect a cluster on this machine in `wiring`.

mod causes;
mod command_line;
mod commands;
mod wiring;

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = wiring::run_as_helper() {
        return code;
    }
    let cli = match command_line::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    match cli.command {
        None => command_line::overview(),
        Some(command_line::Command::Cluster(command)) => wiring::run(*command),
        Some(command_line::Command::Verb(verb)) => commands::run(*verb, &cli.connect),
    }
}
