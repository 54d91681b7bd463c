//! `--flag=true` and `--flag=false`, which kubectl's users may write for every flag without a value.
//!
//! clap takes no value there, so the first becomes `--flag` and the second vanishes, before clap reads the line.

use std::{collections::HashSet, ffi::OsString};

use clap::{ArgAction, Command};

/// The same command line with plain flags; everything after `--` stays.
pub(super) fn plain(command: &Command, args: Vec<OsString>) -> Vec<OsString> {
    let switches = switches(command, &args);
    let mut ended = false;
    let mut plain = Vec::with_capacity(args.len());
    for arg in args {
        ended |= arg == "--";
        let assigned = arg.to_str().filter(|_| !ended).and_then(|text| text.split_once('='));
        match assigned {
            Some((flag, "true")) if switches.contains(flag) => plain.push(flag.into()),
            Some((flag, "false")) if switches.contains(flag) => {}
            _ => plain.push(arg),
        }
    }
    plain
}

/// The switches of the commands that the words of the line name.
fn switches(command: &Command, args: &[OsString]) -> HashSet<String> {
    let mut at = command;
    let mut found = long_switches(at);
    for word in args.iter().skip(1).filter_map(|arg| arg.to_str()).take_while(|word| *word != "--") {
        if let Some(inner) = at.find_subcommand(word) {
            at = inner;
            found.extend(long_switches(at));
        }
    }
    found
}

fn long_switches(command: &Command) -> HashSet<String> {
    let switches = command.get_arguments().filter(|arg| matches!(arg.get_action(), ArgAction::SetTrue));
    switches.filter_map(|arg| Some(format!("--{}", arg.get_long()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_may_be_assigned() {
        let line = |words: &str| words.split(' ').map(OsString::from).collect::<Vec<_>>();
        let cases = [
            ("sluice get pods --watch=true", "sluice get pods --watch"),
            ("sluice get pods --no-headers=false -l a=true", "sluice get pods -l a=true"),
            ("sluice delete pod x --wait=false", "sluice delete pod x --wait=false"),
            ("sluice exec x -- a --stdin=true", "sluice exec x -- a --stdin=true"),
        ];
        for (given, expected) in cases {
            assert_eq!(plain(&crate::command_line::command(), line(given)), line(expected), "{given}");
        }
    }
}
