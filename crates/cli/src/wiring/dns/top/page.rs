//! One look: two readings become what is shown, as text or as JSON.

use std::collections::BTreeMap;
use std::fmt;

use dns::tap::quantile;
use serde::Serialize;

use crate::wiring::agent::watched::{Sums, Watched};

/// What is shown.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    nodes: String,
    /// Since the counting began.
    seconds: f64,
    queries: u64,
    /// In the last interval, like all that is by the second.
    queries_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    p50_microseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99_microseconds: Option<u64>,
    rcodes: BTreeMap<String, u64>,
    types: BTreeMap<String, u64>,
    plugins: BTreeMap<String, u64>,
    names: Vec<Line>,
    clients: Vec<Line>,
}

/// One name or one client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    name: String,
    queries: u64,
    queries_per_second: f64,
    nxdomain: u64,
    failed: u64,
    mean_microseconds: u64,
}

impl Page {
    /// The `most` busiest names and clients: those of the last interval first, then those of before.
    pub(super) fn of(nodes: String, last: &Watched, now: &Watched, most: usize) -> Self {
        // Somebody else's watching began before ours, or the counting began anew.
        let nothing = Watched::default();
        let last = if now.milliseconds < last.milliseconds { &nothing } else { last };
        let seconds = (now.milliseconds - last.milliseconds).max(1) as f64 / 1000.0;
        let micros = |part| quantile(&now.durations, part).map(|time| time.as_micros() as u64);
        Self {
            nodes,
            seconds: now.milliseconds as f64 / 1000.0,
            queries: now.queries,
            queries_per_second: rate(last.queries, now.queries, seconds),
            p50_microseconds: micros(0.5),
            p99_microseconds: micros(0.99),
            rcodes: now.codes.clone(),
            types: now.types.clone(),
            plugins: now.plugins.clone(),
            names: lines(&last.names, &now.names, seconds, most),
            clients: lines(&last.clients, &now.clients, seconds, most),
        }
    }
}

fn lines(
    last: &BTreeMap<String, Sums>,
    now: &BTreeMap<String, Sums>,
    seconds: f64,
    most: usize,
) -> Vec<Line> {
    let mut lines: Vec<Line> = now
        .iter()
        .map(|(name, sums)| Line {
            name: name.clone(),
            queries: sums.queries,
            queries_per_second: rate(last.get(name).map_or(0, |sums| sums.queries), sums.queries, seconds),
            nxdomain: sums.nxdomain,
            failed: sums.failed,
            mean_microseconds: sums.microseconds / sums.queries.max(1),
        })
        .collect();
    lines.sort_by(|one, other| {
        let by_rate = other.queries_per_second.total_cmp(&one.queries_per_second);
        by_rate.then(other.queries.cmp(&one.queries)).then_with(|| one.name.cmp(&other.name))
    });
    lines.truncate(most);
    lines
}

/// A name that was forgotten for a while begins again from nothing.
fn rate(last: u64, now: u64, seconds: f64) -> f64 {
    let rate = now.saturating_sub(last) as f64 / seconds;
    (rate * 10.0).round() / 10.0
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "DNS of {}: {} queries in {:.0} s, now {}/s",
            self.nodes, self.queries, self.seconds, self.queries_per_second
        )?;
        if let (Some(p50), Some(p99)) = (self.p50_microseconds, self.p99_microseconds) {
            write!(f, "; half within {}, 99 % within {}", time(p50), time(p99))?;
        }
        writeln!(f)?;
        for (what, counts) in [("rcodes", &self.rcodes), ("types", &self.types), ("plugins", &self.plugins)] {
            writeln!(f, "{what:8} {}", shares(counts))?;
        }
        table(f, "NAME", &self.names)?;
        table(f, "CLIENT", &self.clients)
    }
}

/// The frequent first, each with its part of all.
fn shares(counts: &BTreeMap<String, u64>) -> String {
    let total: u64 = counts.values().sum();
    let mut sorted: Vec<(&String, &u64)> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let share = |(name, count): &(&String, &u64)| {
        let name = if name.is_empty() { "none" } else { &name[..] };
        format!("{name} {:.1} %", **count as f64 * 100.0 / total as f64)
    };
    sorted.iter().map(share).collect::<Vec<_>>().join("  ")
}

fn table(f: &mut fmt::Formatter<'_>, title: &str, lines: &[Line]) -> fmt::Result {
    let width = lines.iter().map(|line| line.name.chars().count()).max().unwrap_or(0).max(30);
    writeln!(
        f,
        "\n{title:width$} {:>9} {:>9} {:>9} {:>7} {:>8}",
        "QUERIES", "NOW/s", "NXDOMAIN", "FAILED", "MEAN"
    )?;
    for line in lines {
        writeln!(
            f,
            "{:width$} {:>9} {:>9.1} {:>9} {:>7} {:>8}",
            line.name,
            line.queries,
            line.queries_per_second,
            line.nxdomain,
            line.failed,
            time(line.mean_microseconds)
        )?;
    }
    Ok(())
}

fn time(microseconds: u64) -> String {
    match microseconds {
        0 => "<1µs".to_owned(),
        1..10_000 => format!("{microseconds}µs"),
        10_000..10_000_000 => format!("{}ms", microseconds / 1000),
        _ => format!("{}s", microseconds / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(milliseconds: u64, names: &[(&str, u64, u64)]) -> Watched {
        let sums = |queries, nxdomain| Sums { queries, nxdomain, failed: 0, microseconds: queries * 40 };
        Watched {
            milliseconds,
            queries: names.iter().map(|(_, queries, _)| queries).sum(),
            codes: [("NOERROR".to_owned(), 3), ("NXDOMAIN".to_owned(), 1)].into(),
            durations: vec![0, 0, 0, 0, 0, 0, 4],
            names: names
                .iter()
                .map(|(name, queries, nxdomain)| ((*name).to_owned(), sums(*queries, *nxdomain)))
                .collect(),
            ..Watched::default()
        }
    }

    #[test]
    fn the_busiest_of_the_last_interval_come_first() {
        let last = watched(1000, &[("old.", 100, 0), ("new.", 1, 0)]);
        let now = watched(3000, &[("old.", 100, 0), ("new.", 21, 7), ("newer.", 5, 0)]);
        let page = Page::of("a, b".into(), &last, &now, 2);
        let names: Vec<_> =
            page.names.iter().map(|line| (&line.name[..], line.queries, line.queries_per_second)).collect();
        assert_eq!(names, [("new.", 21, 10.0), ("newer.", 5, 2.5)]);
        let text = page.to_string();
        let first = "DNS of a, b: 126 queries in 3 s, now 12.5/s; half within 64µs, 99 % within 64µs\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("rcodes   NOERROR 75.0 %  NXDOMAIN 25.0 %\n"), "{text}");
        let line = "new.                                  21      10.0         7       0     40µs\n";
        assert!(text.contains(line), "{text}");
        let json = serde_json::to_value(&page).unwrap();
        assert_eq!(json["names"][0]["queriesPerSecond"], 10.0);
        assert_eq!(json["p99Microseconds"], 64);
        let anew = Page::of("a".into(), &now, &last, 2);
        assert_eq!(anew.queries_per_second, 101.0, "the counting began anew");
    }

    #[test]
    fn nodes_add_up() {
        let mut sum = Watched::default();
        sum.add(&watched(1000, &[("a.", 2, 1)]));
        sum.add(&watched(1200, &[("a.", 3, 0), ("b.", 1, 0)]));
        assert_eq!(
            (sum.milliseconds, sum.queries, sum.names["a."].queries, sum.names["a."].nxdomain),
            (1200, 6, 5, 1)
        );
        assert_eq!((sum.codes["NOERROR"], sum.durations[6]), (6, 8));
    }
}
