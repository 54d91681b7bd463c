//! What one program showed at one size, and the tables of it: a row for each size, the programs beside each other.

use std::time::Duration;

use super::candidate::Memory;
use super::node::{PATIENCE, Sample};
use crate::measure::{milliseconds, percentile, print_table};

/// What changes are measured.
const CHANGES: [&str; 4] =
    ["endpoint replaced", "service added", "of that until the API has answered", "service removed"];

/// One program at one size.
pub(super) struct Figures {
    /// How long a start may take.
    pub(super) limit: Duration,
    /// Start to synced; the rest is measured when that was within the limit.
    pub(super) synced: Option<Synced>,
}

/// What a program that has synced showed.
pub(super) struct Synced {
    pub(super) cold: Duration,
    pub(super) memory: Memory,
    /// In the order of [`CHANGES`].
    pub(super) changes: [Vec<Sample>; 4],
    pub(super) churn: Churn,
}

/// What steady changes cost, and nothing at all.
pub(super) struct Churn {
    /// Parts of a core.
    pub(super) busy: f64,
    pub(super) idle: f64,
    /// The highest since the start.
    pub(super) resident: u64,
}

/// One size, with the programs' figures in their order.
pub(super) struct Row {
    pub(super) size: String,
    pub(super) figures: Vec<Figures>,
}

/// Prints all tables.
pub(super) fn print(names: &[&str], rows: &[Row]) {
    println!("\nStart to synced, and resident memory then (in brackets without the pages of files):\n");
    let starts = rows.iter().map(|row| line(row, &row.size, cold, memory));
    table(names, "services × endpoints", ["", ", resident"], starts.collect());
    println!("\nFrom the call of the API to the first connection that finds the change:\n");
    let changes = rows.iter().flat_map(|row| {
        CHANGES.iter().enumerate().map(move |(kind, name)| {
            let median = |synced: &Synced| part(&synced.changes[kind], 50);
            line(row, &format!("{}, {name}", row.size), median, |synced| {
                let samples = &synced.changes[kind];
                let count = samples.len();
                format!("{} ({count})", part(samples, 99).map_or_else(too_late, milliseconds))
            })
        })
    });
    table(names, "services × endpoints, change", [" p50", " p99 (samples)"], changes.collect());
    println!("\n100 endpoint changes a second, then nothing for as long; parts of a core:\n");
    let costs = rows.iter().map(|row| {
        let busy = |synced: &Synced| Some(Duration::from_secs_f64(synced.churn.busy));
        let mut cells = line(row, &row.size, busy, |synced| {
            let Churn { idle, resident, .. } = synced.churn;
            format!("{:.2} %, {}", 100.0 * idle, megabytes(resident))
        });
        for (program, figures) in row.figures.iter().enumerate() {
            if let Some(synced) = &figures.synced {
                cells[1 + 2 * program] = format!("{:.2} %", 100.0 * synced.churn.busy);
            }
        }
        cells
    });
    table(names, "services × endpoints", [" under churn", " idle, highest resident"], costs.collect());
}

fn table(names: &[&str], first: &str, columns: [&str; 2], rows: Vec<Vec<String>>) {
    let mut head = vec![first.to_owned()];
    head.extend(names.iter().flat_map(|name| columns.map(|column| format!("{name}{column}"))));
    if names.len() == 2 {
        head.push("ratio".to_owned());
    }
    print_table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
}

/// A row: for each program a duration and something more, and the ratio of the second's duration to the first's.
fn line(
    row: &Row,
    title: &str,
    duration: impl Fn(&Synced) -> Option<Duration>,
    more: impl Fn(&Synced) -> String,
) -> Vec<String> {
    let mut cells = vec![title.to_owned()];
    let mut durations = Vec::new();
    for figures in &row.figures {
        if let Some(synced) = &figures.synced {
            durations.push(duration(synced));
            cells.push(duration(synced).map_or_else(too_late, milliseconds));
            cells.push(more(synced));
        } else {
            durations.push(None);
            cells.push(format!("not synced after {} s", figures.limit.as_secs()));
            cells.push("–".to_owned());
        }
    }
    if let [first, second] = durations[..] {
        let ratio = first.zip(second).map(|(first, second)| second.as_secs_f64() / first.as_secs_f64());
        cells.push(ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.1}")));
    }
    cells
}

fn cold(synced: &Synced) -> Option<Duration> {
    Some(synced.cold)
}

fn memory(synced: &Synced) -> String {
    format!("{} ({})", megabytes(synced.memory.resident), megabytes(synced.memory.own))
}

/// A percentile; nothing when it lies among those that were never seen.
fn part(samples: &[Sample], percent: usize) -> Option<Duration> {
    let never = PATIENCE + Duration::from_nanos(1);
    let samples: Vec<Duration> = samples.iter().map(|sample| sample.unwrap_or(never)).collect();
    if samples.is_empty() {
        return None;
    }
    Some(percentile(samples, percent)).filter(|value| *value < never)
}

fn too_late() -> String {
    format!("more than {} s", PATIENCE.as_secs())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
