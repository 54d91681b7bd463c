//! Runs a list of trials as `cargo test` would, for test programs that need a `main` of their own.
//!
//! Namespaces of an ordinary user must be made before the program has a second thread, so those programs cannot use
//! the standard harness. Understands a name filter, `--exact`, `--skip`, `--list`, `--test-threads` and `--quiet`;
//! prints the standard closing lines. A trial that cannot run here is shown with its reason and counted as ignored.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All as expected.
    Passed,
    /// What was not.
    Failed(String),
    /// Why it cannot run here.
    Skipped(String),
}

/// A named test.
pub struct Trial {
    name: String,
    run: Box<dyn FnOnce() -> Outcome + Send>,
}

impl Trial {
    /// A trial that is judged by what `run` returns; a panic is a failure.
    pub fn new(name: impl Into<String>, run: impl FnOnce() -> Outcome + Send + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }

    /// A trial that passes when `run` returns.
    pub fn of(name: &str, run: fn()) -> Self {
        Self::new(name, move || {
            run();
            Outcome::Passed
        })
    }
}

/// Which trials to run, and how many at once.
#[derive(Debug, Default)]
struct Choice {
    filters: Vec<String>,
    skips: Vec<String>,
    exact: bool,
    list: bool,
    ignored_only: bool,
    quiet: bool,
    threads: usize,
}

impl Choice {
    fn read(arguments: impl Iterator<Item = String>) -> Self {
        let mut choice =
            Self { threads: thread::available_parallelism().map_or(2, usize::from), ..Self::default() };
        let mut arguments = arguments.flat_map(|argument| {
            let parts: Vec<String> = argument.splitn(2, '=').map(str::to_owned).collect();
            if argument.starts_with("--") { parts } else { vec![argument] }
        });
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--exact" => choice.exact = true,
                "--list" => choice.list = true,
                "--ignored" => choice.ignored_only = true,
                "--quiet" | "-q" => choice.quiet = true,
                "--skip" => choice.skips.extend(arguments.next()),
                "--test-threads" => {
                    choice.threads = arguments.next().and_then(|number| number.parse().ok()).unwrap_or(1);
                }
                "--format" | "--color" | "--report-time" | "-Z" => drop(arguments.next()),
                flag if flag.starts_with('-') => {}
                _ => choice.filters.push(argument),
            }
        }
        choice
    }

    fn takes(&self, name: &str) -> bool {
        let matches = |text: &String| if self.exact { name == text } else { name.contains(text.as_str()) };
        let wanted = self.filters.is_empty() || self.filters.iter().any(matches);
        wanted && !self.ignored_only && !self.skips.iter().any(matches)
    }
}

/// Runs the trials that the program's arguments choose.
pub fn run(trials: Vec<Trial>) -> ExitCode {
    let choice = Choice::read(std::env::args().skip(1));
    let all = trials.len();
    let trials: Vec<Trial> = trials.into_iter().filter(|trial| choice.takes(&trial.name)).collect();
    if choice.list {
        trials.iter().for_each(|trial| say(&format!("{}: test\n", trial.name)));
        return ExitCode::SUCCESS;
    }
    say(&format!("\nrunning {} tests\n", trials.len()));
    let (begun, filtered) = (Instant::now(), all - trials.len());
    let outcomes = run_all(trials, &choice);
    summarize(&outcomes, filtered, begun.elapsed())
}

/// The same in a user namespace of an ordinary user. To be called before there are threads; without one, every trial says why.
pub fn run_in_namespaces(trials: Vec<Trial>) -> ExitCode {
    let Err(error) = pods::userns::enter() else { return run(trials) };
    let skipped = |trial: Trial| {
        let reason = error.to_string();
        Trial::new(trial.name, move || Outcome::Skipped(reason))
    };
    run(trials.into_iter().map(skipped).collect())
}

/// Outcomes by name. Takes from one queue with as many threads as wanted.
fn run_all(trials: Vec<Trial>, choice: &Choice) -> BTreeMap<String, Outcome> {
    let queue = Mutex::new(trials.into_iter());
    let outcomes = Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..choice.threads.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().ok().and_then(|mut queue| queue.next());
                    let Some(trial) = next else { return };
                    let outcome = run_one(trial.run);
                    show(&trial.name, &outcome, choice.quiet);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes.insert(trial.name, outcome);
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

/// Ends the trial that calls it: it cannot run here, for this reason. Works at any depth of the trial's own thread; from
/// another thread it has to be carried over with [`std::panic::resume_unwind`].
pub fn skip(reason: impl Into<String>) -> ! {
    std::panic::resume_unwind(Box::new(Skip(reason.into())))
}

/// What [`skip`] unwinds with.
struct Skip(String);

/// A list of trials from functions without arguments, named as they are: `trials![restart_adopts, hairpin]`.
#[macro_export]
macro_rules! trials {
    ($($function:path),* $(,)?) => {
        vec![$($crate::harness::Trial::of(stringify!($function), $function)),*]
    };
}

fn run_one(run: Box<dyn FnOnce() -> Outcome + Send>) -> Outcome {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        if let Some(Skip(reason)) = panic.downcast_ref() {
            return Outcome::Skipped(reason.clone());
        }
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a text");
        Outcome::Failed(format!("panicked: {text}"))
    })
}

fn show(name: &str, outcome: &Outcome, quiet: bool) {
    match outcome {
        Outcome::Passed if quiet => {}
        Outcome::Passed => say(&format!("test {name} ... ok\n")),
        Outcome::Failed(_) => say(&format!("test {name} ... FAILED\n")),
        Outcome::Skipped(reason) => say(&format!("test {name} ... ignored, SKIPPED: {reason}\n")),
    }
}

fn summarize(outcomes: &BTreeMap<String, Outcome>, filtered: usize, elapsed: Duration) -> ExitCode {
    let failed: Vec<(&String, &String)> = outcomes
        .iter()
        .filter_map(
            |(name, outcome)| if let Outcome::Failed(why) = outcome { Some((name, why)) } else { None },
        )
        .collect();
    let ignored = outcomes.values().filter(|outcome| matches!(outcome, Outcome::Skipped(_))).count();
    for (name, why) in &failed {
        say(&format!("\n---- {name} ----\n{why}\n"));
    }
    if !failed.is_empty() {
        let names: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
        say(&format!("\nfailures:\n    {}\n", names.join("\n    ")));
    }
    let verdict = if failed.is_empty() { "ok" } else { "FAILED" };
    say(&format!(
        "\ntest result: {verdict}. {} passed; {} failed; {ignored} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n\n",
        outcomes.len() - failed.len() - ignored,
        failed.len(),
        elapsed.as_secs_f64()
    ));
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes at once, so that lines of several threads do not mix. A closed pipe is no reason to stop testing.
fn say(text: &str) {
    let _ = io::stdout().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_passes_fails_or_is_skipped() {
        let outcome = |run: fn()| run_one(Trial::of("trial", run).run);
        assert_eq!(outcome(|| {}), Outcome::Passed);
        assert_eq!(outcome(|| skip("no such kernel")), Outcome::Skipped("no such kernel".into()));
        assert_eq!(outcome(|| panic!("seen {}", 7)), Outcome::Failed("panicked: seen 7".into()));
    }
}
