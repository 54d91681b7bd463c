//! Answers as a file: for each set its seed and digest, then its answers, of kube-proxy a line for each destination. Those of
//! CoreDNS are [`super::dns::recording`]'s.
//!
//! ```text
//! # Kubernetes v1.37.2
//! set 17 0123456789abcdef
//! tcp 10.96.1.1:80 => pod, peer: 10.244.1.16:9898 | 10.244.2.15:9898; outside: 10.244.1.16:9898 masq
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::answer::Answer;
use super::question::{Destination, Question};

/// What was answered about one set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded<A = BTreeMap<Question, Answer>> {
    /// The set's seed.
    pub seed: u64,
    /// Of its objects and, where they are a choice, of the questions.
    pub digest: u64,
    /// The answers.
    pub answers: A,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recording<A = BTreeMap<Question, Answer>> {
    /// What answered.
    pub version: String,
    /// Its sets.
    pub sets: Vec<Recorded<A>>,
}

/// Answers as lines of a file.
pub trait Lines: Default {
    /// Takes up a line; `None` when it is not understood.
    fn read(&mut self, line: &str) -> Option<()>;

    /// Writes all lines.
    ///
    /// # Errors
    /// The formatter's.
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of a recording is not understood: {text}")]
pub struct Unreadable {
    line: usize,
    text: String,
}

impl<A: Lines> Recording<A> {
    /// Reads a file.
    ///
    /// # Errors
    /// The line that is not understood.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let mut recording = Self::default();
        for (index, line) in text.lines().enumerate() {
            let unreadable = || Unreadable { line: index + 1, text: line.to_owned() };
            if let Some(version) = line.strip_prefix("# ") {
                version.clone_into(&mut recording.version);
            } else if let Some(title) = line.strip_prefix("set ") {
                recording.sets.push(parse_title(title).ok_or_else(unreadable)?);
            } else {
                let set = recording.sets.last_mut().ok_or_else(unreadable)?;
                set.answers.read(line).ok_or_else(unreadable)?;
            }
        }
        Ok(recording)
    }
}

fn parse_title<A: Lines>(text: &str) -> Option<Recorded<A>> {
    let (seed, digest) = text.split_once(' ')?;
    let digest = u64::from_str_radix(digest, 16).ok()?;
    Some(Recorded { seed: seed.parse().ok()?, digest, answers: A::default() })
}

impl<A: Lines> fmt::Display for Recorded<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "set {} {:016x}", self.seed, self.digest)?;
        self.answers.write(f)
    }
}

impl<A: Lines> fmt::Display for Recording<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.version)?;
        self.sets.iter().try_for_each(|set| set.fmt(f))
    }
}

impl Lines for BTreeMap<Question, Answer> {
    fn read(&mut self, line: &str) -> Option<()> {
        let (destination, rest) = line.split_once(" => ")?;
        let destination: Destination = destination.parse().ok()?;
        for part in rest.split("; ") {
            let (senders, answer) = part.split_once(": ")?;
            let answer = Answer::parse(answer)?;
            for sender in senders.split(", ") {
                self.insert(Question { destination, sender: sender.parse().ok()? }, answer.clone());
            }
        }
        Some(())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<Destination, Vec<(String, Vec<String>)>> = BTreeMap::new();
        for (question, answer) in self {
            let (line, text) = (lines.entry(question.destination).or_default(), answer.to_string());
            match line.iter_mut().find(|(known, _)| *known == text) {
                Some((_, senders)) => senders.push(question.sender.to_string()),
                None => line.push((text, vec![question.sender.to_string()])),
            }
        }
        for (destination, parts) in lines {
            let parts: Vec<String> =
                parts.iter().map(|(answer, senders)| format!("{}: {answer}", senders.join(", "))).collect();
            writeln!(f, "{destination} => {}", parts.join("; "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        let text = "# Kubernetes v1.37.2\nset 17 0123456789abcdef\n\
                    tcp 10.96.1.1:80 => pod, 10.244.1.2: 10.244.1.2:80 | 10.244.2.2:80 masq; outside: drop\n\
                    udp [fd00::1]:53 => node: reject\n";
        assert_eq!(<Recording>::parse(text).unwrap().to_string(), text);
        assert!(<Recording>::parse("tcp 10.96.1.1:80 => pod: drop").is_err());
    }
}
