//! kubectl's commands that are not here, each with what to use instead.

use std::{ffi::OsString, process::ExitCode};

use super::failure::Failure;

const NOT_HERE: [(&str, &str); 27] = [
    ("port-forward", "not yet: reach a service from a pod, `sluice exec -it POD -- curl SERVICE`"),
    ("attach", "use `sluice logs -f POD` to read, `sluice exec -it POD -- sh` to type"),
    ("cp", "use `sluice exec POD -- cat FILE`, and `sluice exec -i POD -- sh -c 'cat > FILE'`"),
    ("edit", "use `sluice get TYPE NAME -o yaml > FILE`, edit it, `sluice apply -f FILE`; or `sluice patch`"),
    ("replace", "use `sluice apply -f FILE`, or `sluice delete -f FILE` and `sluice create -f FILE`"),
    ("set", "use `sluice patch`, or change the manifest and `sluice apply -f FILE`"),
    ("diff", "use `sluice apply -f FILE --dry-run=server -o yaml` and compare"),
    ("explain", "see the Kubernetes API reference; `sluice api-resources` lists the types"),
    ("events", "use `sluice get events`"),
    ("autoscale", "use `sluice scale`"),
    ("top", "no metrics are collected"),
    ("cordon", "use `sluice patch node NAME -p '{\"spec\":{\"unschedulable\":true}}'`"),
    ("uncordon", "use `sluice patch node NAME -p '{\"spec\":{\"unschedulable\":false}}'`"),
    ("drain", "use `sluice delete pod` for the pods of the node"),
    ("taint", "use `sluice patch node NAME`"),
    ("proxy-api", "use the kubeconfig with any client"),
    ("auth", "the embedded cluster admits its administrator to everything; use kubectl elsewhere"),
    ("certificate", "use kubectl"),
    ("debug", "use `sluice exec -it POD -- sh`, or `sluice node shell NODE` on the embedded cluster"),
    ("kustomize", "use `kustomize build DIR | sluice apply -f -`"),
    ("config", "name a kubeconfig with --kubeconfig or KUBECONFIG, a context with --context"),
    ("plugin", "plugins are not run"),
    ("api-versions", "use `sluice api-resources`"),
    ("options", "use `sluice --help`"),
    ("alpha", "use kubectl"),
    ("help", "use `sluice --help` or `sluice COMMAND --help`"),
    ("kuberc", "use kubectl"),
];

/// Refuses a command that is not here.
pub(crate) fn run(words: &[OsString]) -> Result<ExitCode, Failure> {
    let word = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    match NOT_HERE.iter().find(|(name, _)| *name == word) {
        Some((name, instead)) => {
            Err(Failure::usage(format!("`{name}` is not a command of sluice: {instead}")))
        }
        None => Err(Failure::usage(format!(
            "unknown command {word:?} for \"sluice\"{}\nRun 'sluice --help' for usage.",
            suggestion(&word)
        ))),
    }
}

fn suggestion(word: &str) -> String {
    let command = crate::command_line::command();
    let names = command.get_subcommands().map(clap::Command::get_name);
    let near = names.filter(|name| distance(name, word) <= 2 || word.len() > 2 && name.starts_with(word));
    let lines: Vec<String> = near.map(|name| format!("\n\t{name}")).collect();
    if lines.is_empty() { String::new() } else { format!("\n\nDid you mean this?{}\n", lines.concat()) }
}

/// Levenshtein's distance.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, character) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], line + 1);
        for (column, other) in right.iter().enumerate() {
            let cost = diagonal + usize::from(character != *other);
            diagonal = row[column + 1];
            row[column + 1] = cost.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_are_not_here_say_what_to_use() {
        let told = |word: &str| run(&[OsString::from(word)]).unwrap_err().to_string();
        assert!(told("port-forward").contains("not yet"), "{}", told("port-forward"));
        assert!(told("gte").contains("Did you mean this?\n\tget"), "{}", told("gte"));
        assert!(told("frobnicate").starts_with("error: unknown command \"frobnicate\" for \"sluice\"\nRun"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
