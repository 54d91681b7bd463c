//! Judges: each compares one stage with what a scenario expects of it.
//!
//! A judge plays the scenario's steps through the real code of its stage and returns a [`Report`]; it never prints and
//! never stops at the first difference. A stage that cannot run on this machine says so by [`Verdict::Skipped`].

mod dns;
mod explanation;
mod faults;
mod feed;
mod forwarding;
mod load;
mod nft;
mod order;
mod packets;
pub mod plane;
mod restart;
mod sender;
mod services;
mod wire;

use std::fmt::Write as _;

pub use dns::{decode, dns, encode, zone};
pub use faults::faults;
pub(crate) use feed::node_object;
pub use feed::{Feed, Known};
pub use forwarding::{Tables, forwarding};
pub use nft::{listing, nft};
pub use order::{Order, interleave, order};
pub use packets::packets;
pub use restart::restart;
pub use services::services;
pub use wire::wire;

use crate::scenario::{Dump, Rewrite};

/// What a judge found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The stage was asked and compared.
    Judged(Report),
    /// The stage cannot run here, with the reason.
    Skipped(String),
}

/// The differences of one scenario and one stage, none when all is right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// `FILE:LINE: what differs`, with the lines on both sides.
    pub failures: Vec<String>,
    /// What `UPDATE=1` would write into the file.
    pub rewrites: Vec<Rewrite>,
}

impl Report {
    /// Adds a difference that no rewriting mends.
    pub fn fail(&mut self, file: &str, line: usize, what: impl AsRef<str>) {
        self.failures.push(format!("{file}:{line}: {}", what.as_ref()));
    }

    /// Compares the text of a stage with the scenario's.
    pub fn compare(&mut self, file: &str, dump: &Dump, shown: &str) {
        let shown: Vec<String> = shown.lines().map(|line| line.trim_end().to_owned()).collect();
        if shown == dump.lines {
            return;
        }
        let mut difference = format!("`{}` shows something else (UPDATE=1 rewrites it)\n", dump.stage);
        for line in diff(&dump.lines, &shown) {
            let _ = writeln!(difference, "    {line}");
        }
        self.fail(file, dump.line, difference.trim_end());
        self.rewrites.push(Rewrite { body: dump.body.clone(), lines: shown });
    }
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

/// Lines of both sides by longest common subsequence: `-` expected only, `+` shown only, two blanks both.
fn diff(expected: &[String], shown: &[String]) -> Vec<String> {
    let width = shown.len() + 1;
    let mut common = vec![0usize; (expected.len() + 1) * width];
    for i in (0..expected.len()).rev() {
        for j in (0..shown.len()).rev() {
            let longest = common[(i + 1) * width + j].max(common[i * width + j + 1]);
            let both = common[(i + 1) * width + j + 1] + 1;
            common[i * width + j] = if expected[i] == shown[j] { both } else { longest };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < expected.len() || j < shown.len() {
        if i < expected.len() && j < shown.len() && expected[i] == shown[j] {
            lines.push(format!("  {}", expected[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == shown.len()
            || (i < expected.len() && common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            lines.push(format!("- {}", expected[i]));
            i += 1;
        } else {
            lines.push(format!("+ {}", shown[j]));
            j += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Stage;

    #[test]
    fn differences_keep_what_is_common() {
        let lines = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let cases = [
            ("", "", ""),
            ("a b", "a b", "  a|  b"),
            ("a b c", "a c", "  a|- b|  c"),
            ("a c", "a b c d", "  a|+ b|  c|+ d"),
            ("a", "b", "- a|+ b"),
        ];
        for (expected, shown, difference) in cases {
            assert_eq!(diff(&lines(expected), &lines(shown)).join("|"), difference, "{expected:?} {shown:?}");
        }
    }

    #[test]
    fn a_difference_rewrites_its_block() {
        let dump = Dump {
            stage: Stage::Zone,
            node: String::new(),
            line: 3,
            lines: vec!["a".to_owned()],
            body: 3..4,
        };
        let mut report = Report::default();
        report.compare("x", &dump, "a  \n");
        assert_eq!(report, Report::default());
        report.compare("x", &dump, "b\n");
        assert_eq!(report.rewrites, [Rewrite { body: 3..4, lines: vec!["b".to_owned()] }]);
        assert!(report.failures[0].starts_with("x:3: `zone` shows something else"), "{:?}", report.failures);
    }
}
