//! Keeps the flags that choose a cluster away from the commands that speak to none (`up`, `check`, …).
//!
//! The flags are global, so that they may stand before or after a verb, and clap hands global flags to every command. One
//! that has an argument of the same id is left alone: a hidden one that refuses.

use clap::{Arg, Command, Subcommand};

use crate::wiring;

/// The command tree without the flags of `ConnectFlags` in the commands of this machine.
pub(super) fn without_connection(tree: Command) -> Command {
    let own = wiring::Command::augment_subcommands(Command::new("own"));
    own.get_subcommands().fold(tree, |tree, command| tree.mut_subcommand(command.get_name(), refuse))
}

fn refuse(command: Command) -> Command {
    let has = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    let missing: Vec<Arg> =
        ["kubeconfig", "context", "namespace"].into_iter().filter(|id| !has(id)).map(refused).collect();
    let inner: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    inner.into_iter().fold(command.args(missing), |command, name| command.mut_subcommand(name, refuse))
}

fn refused(id: &'static str) -> Arg {
    let refuse = move |_: &str| Err::<String, _>(format!("this command has no --{id}"));
    let arg = Arg::new(id).long(id).hide(true).value_parser(refuse);
    if id == "namespace" { arg.short('n') } else { arg }
}

#[cfg(test)]
mod tests {
    use crate::command_line::command;

    #[test]
    fn only_verbs_take_the_flags() {
        let taken = |words: &str| command().try_get_matches_from(words.split(' ')).is_ok();
        assert!(
            taken("sluice -n a get pods")
                && taken("sluice get pods -n a")
                && taken("sluice create namespace x -n a")
        );
        assert!(!taken("sluice up -n a") && !taken("sluice check --context a"));
        assert!(taken("sluice up --kubeconfig a"));
        let help = command().find_subcommand_mut("check").map(|check| check.render_help().to_string());
        assert!(!help.unwrap_or_default().contains("--context"));
        command().debug_assert();
    }
}
