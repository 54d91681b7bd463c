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

/// How one stage is judged.
struct Judge {
    name: &'static str,
    /// It makes network namespaces.
    in_namespaces: bool,
    /// True for a scenario that expects something of it.
    is_asked: fn(&Scenario) -> bool,
    judge: fn(&Scenario) -> Verdict,
}

const JUDGES: [Judge; 10] = [
    Judge { name: "services", in_namespaces: false, is_asked: |_| true, judge: judge::services },
    Judge { name: "forwarding", in_namespaces: false, is_asked: |_| true, judge: judge::forwarding },
    Judge { name: "order", in_namespaces: false, is_asked: |_| true, judge: judge::order },
    Judge { name: "dns", in_namespaces: false, is_asked: Scenario::has_names, judge: judge::dns },
    Judge { name: "wire", in_namespaces: true, is_asked: Scenario::has_queries, judge: judge::wire },
    Judge { name: "nft", in_namespaces: true, is_asked: Scenario::has_rules, judge: judge::nft },
    Judge { name: "listing", in_namespaces: true, is_asked: |_| true, judge: judge::listing },
    Judge { name: "restart", in_namespaces: true, is_asked: |_| true, judge: judge::restart },
    Judge { name: "faults", in_namespaces: true, is_asked: |_| true, judge: judge::faults },
    Judge { name: "packets", in_namespaces: true, is_asked: Scenario::has_packets, judge: judge::packets },
];

fn main() -> ExitCode {
    // Before there are threads: the kernel refuses it afterwards.
    let entered = pods::userns::enter().map_err(|error| error.to_string());
    let rewrites = Rewrites::default();
    let mut trials = Vec::new();
    for path in files() {
        trials.extend(trials_of(&path, &entered.as_ref().err().cloned(), &rewrites));
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

/// A trial for each stage that the scenario asks; one that fails if the file cannot be read.
fn trials_of(path: &Path, refused: &Option<String>, rewrites: &Rewrites) -> Vec<Trial> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = format!("scenarios/{name}.scenario");
    let text = fs::read_to_string(path).expect("a readable scenario");
    let scenario = match Scenario::parse(&file, &text) {
        Ok(scenario) => Arc::new(scenario),
        Err(error) => {
            return vec![Trial::new(format!("{name}::parse"), move || Outcome::Failed(error.to_string()))];
        }
    };
    let asked = JUDGES.iter().filter(|judge| (judge.is_asked)(&scenario));
    let trial = |judge: &'static Judge| {
        let (scenario, path, rewrites) = (Arc::clone(&scenario), path.to_owned(), Arc::clone(rewrites));
        let refused = refused.clone().filter(|_| judge.in_namespaces);
        Trial::new(format!("{name}::{}", judge.name), move || match refused {
            Some(reason) => Outcome::Skipped(reason),
            None => judged((judge.judge)(&scenario), &path, &rewrites),
        })
    };
    asked.map(trial).collect()
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
