//! Every file of `scenarios/`, judged stage by stage. `UPDATE=1` rewrites the dumps in the files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use testnet::harness::{self, Outcome, Trial};
use testnet::judge::{self, Verdict};
use testnet::scenario::{Rewrite, Scenario, rewrite};

/// Rewrites by file, collected while the trials run.
type Rewrites = Arc<Mutex<Vec<(PathBuf, Rewrite)>>>;

/// One stage's judge.
type Judge = fn(&Scenario) -> Verdict;

const JUDGES: [(&str, Judge); 3] =
    [("services", judge::services), ("forwarding", judge::forwarding), ("order", judge::order)];

fn main() -> ExitCode {
    let rewrites = Rewrites::default();
    let mut trials = Vec::new();
    for path in files() {
        trials.extend(trials_of(&path, &rewrites));
    }
    let code = harness::run(trials);
    if std::env::var_os("UPDATE").is_some() {
        write_back(&rewrites);
    }
    code
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let entries = fs::read_dir(&folder).expect("the folder of scenarios");
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ext| ext == "scenario")).collect();
    files.sort();
    files
}

/// A trial for each stage; one that fails if the file cannot be read.
fn trials_of(path: &Path, rewrites: &Rewrites) -> Vec<Trial> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = format!("scenarios/{name}.scenario");
    let text = fs::read_to_string(path).expect("a readable scenario");
    let scenario = match Scenario::parse(&file, &text) {
        Ok(scenario) => Arc::new(scenario),
        Err(error) => {
            return vec![Trial::new(format!("{name}::parse"), move || Outcome::Failed(error.to_string()))];
        }
    };
    let trial = |(stage, judge): (&str, Judge)| {
        let (scenario, path, rewrites) = (Arc::clone(&scenario), path.to_owned(), Arc::clone(rewrites));
        Trial::new(format!("{name}::{stage}"), move || judged(judge(&scenario), &path, &rewrites))
    };
    JUDGES.into_iter().map(trial).collect()
}

fn judged(verdict: Verdict, path: &Path, rewrites: &Rewrites) -> Outcome {
    match verdict {
        Verdict::Skipped(reason) => Outcome::Skipped(reason),
        Verdict::Judged(report) => {
            let blocks = report.rewrites.into_iter().map(|block| (path.to_owned(), block));
            rewrites.lock().expect("no trial panics while it holds the list").extend(blocks);
            if report.failures.is_empty() {
                Outcome::Passed
            } else {
                Outcome::Failed(report.failures.join("\n"))
            }
        }
    }
}

fn write_back(rewrites: &Rewrites) {
    let rewrites = std::mem::take(&mut *rewrites.lock().expect("all trials are over"));
    for path in files() {
        let blocks: Vec<Rewrite> =
            rewrites.iter().filter(|(file, _)| *file == path).map(|(_, block)| block.clone()).collect();
        if !blocks.is_empty() {
            let text = fs::read_to_string(&path).expect("a readable scenario");
            fs::write(&path, rewrite(&text, blocks)).expect("a writable scenario");
        }
    }
}
