//! `UPDATE=1`: puts what a stage really shows into the scenario's file.

use std::ops::Range;

/// One block of lines that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The old lines, as indexes from 0.
    pub body: Range<usize>,
    /// The new ones.
    pub lines: Vec<String>,
}

/// The file's text with all blocks replaced. Of two rewrites of one block the last wins.
#[must_use]
pub fn rewrite(text: &str, mut rewrites: Vec<Rewrite>) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    rewrites.reverse();
    rewrites.sort_by_key(|rewrite| std::cmp::Reverse(rewrite.body.start));
    rewrites.dedup_by_key(|rewrite| rewrite.body.start);
    for rewrite in &rewrites {
        let end = rewrite.body.end.min(lines.len());
        lines.splice(rewrite.body.start.min(end)..end, rewrite.lines.iter().map(String::as_str));
    }
    let mut text = lines.join("\n");
    text.push('\n');
    text
}
