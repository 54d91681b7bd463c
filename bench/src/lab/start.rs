//! From the start of the program to each stage of the lab, as `sluice demo` prints them at its end; and, seen from
//! outside, until `sluice get namespaces` of another process has its answer from `sluice up`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::cluster::{Cluster, ends_with_us};
use crate::measure::{median, milliseconds};

const RUNS: usize = 7;
/// A stage as `sluice demo` names it, as we name it, and its target.
const STAGES: [(&str, &str, &str); 4] = [
    ("the API answers", "start → API ready", "300 ms"),
    ("both nodes are Ready", "start → both nodes ready", ""),
    ("three pods are Running and Ready", "start → three pods ready", ""),
    ("the first answer", "start → first answer", "2,000 ms"),
];

/// A row for each stage.
pub(super) fn measure(sluice: &Path) -> Result<Vec<Vec<String>>> {
    let outside = (0..RUNS).map(|_| another_process(sluice)).collect::<Result<Vec<_>>>()?;
    let runs = (0..RUNS).map(|_| demo(sluice)).collect::<Result<Vec<_>>>()?;
    let stage = |(name, title, target): (&str, &str, &str)| {
        let times = runs.iter().map(|output| time_of(name, output)).collect::<Result<_>>()?;
        Ok(row(title, times, target))
    };
    let mut rows = STAGES.into_iter().map(stage).collect::<Result<Vec<_>>>()?;
    rows.insert(1, row("fork → `get namespaces` of another process answered", outside, ""));
    Ok(rows)
}

fn row(title: &str, times: Vec<Duration>, target: &str) -> Vec<String> {
    let (lowest, highest) = (times.iter().min().copied(), times.iter().max().copied());
    let range = format!("{} to {}", text(lowest), text(highest));
    super::row(format!("{title}, median of {RUNS}"), milliseconds(median(times)), range, target)
}

/// From the start of a cluster to the first answer that a process of its own has got over TLS.
fn another_process(sluice: &Path) -> Result<Duration> {
    let began = Instant::now();
    let (_lines, cluster) = Cluster::begin(sluice)?;
    cluster.verb(&["get", "namespaces"])?;
    Ok(began.elapsed())
}

fn text(time: Option<Duration>) -> String {
    time.map(milliseconds).unwrap_or_default()
}

/// Runs the demo; what it printed.
fn demo(sluice: &Path) -> Result<String> {
    let mut command = Command::new(sluice);
    command.arg("demo").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let output = ends_with_us(&mut command).output().context("running sluice demo")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "sluice demo failed ({}):\n{text}", output.status);
    Ok(text)
}

/// Reads `     123 ms  NAME` of the closing table.
fn time_of(name: &str, output: &str) -> Result<Duration> {
    let time = output.lines().find_map(|line| {
        let time = line.strip_suffix(name)?.trim().strip_suffix("ms")?;
        time.trim().parse().ok()
    });
    time.map(Duration::from_millis).with_context(|| format!("sluice demo tells no time for {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_from_the_closing_table() {
        let output = "== How long it took\n     123 ms  the API answers\n    1456 ms  the first answer\n";
        assert_eq!(time_of("the first answer", output).unwrap(), Duration::from_millis(1456));
        assert!(time_of("both nodes are Ready", output).is_err());
    }
}
