//! Answers as a file. For each set the most frequent answer of each type is written first, for names that end in `local` and
//! for others; names that have no other answers are not written: which names were asked for is known from the set.
//!
//! ```text
//! # CoreDNS-1.14.7
//! set 17 0123456789abcdef
//! local.  A,AAAA,MX=nx cluster.local. 30  SOA=no cluster.local. 30
//! .       A,AAAA,MX,SOA=nx in-addr.arpa. 30
//! web.default.svc.cluster.local  A=NOERROR | @ 30 A 10.96.0.1  AAAA,MX=no cluster.local. 30
//! ```

use std::collections::BTreeMap;
use std::fmt;

use super::question::KINDS;
use crate::oracle::recording::{self, Lines};

/// By name and place of the type. What is not here was answered as usual: see `usual`.
pub type Answers = BTreeMap<(String, usize), String>;

/// What was answered about one set.
pub type Recorded = recording::Recorded<Answers>;

/// A whole file.
pub type Recording = recording::Recording<Answers>;

/// The name under which the most frequent answers to names like this are written.
fn usual(name: &str) -> &'static str {
    if name.to_ascii_lowercase().ends_with(".local") { "local." } else { "." }
}

impl Recorded {
    /// What was answered.
    #[must_use]
    pub fn answer(&self, name: &str, kind: usize) -> &str {
        let find = |name: &str| self.answers.get(&(name.to_owned(), kind));
        find(name).or_else(|| find(usual(name))).map_or("", String::as_str)
    }

    /// From all answers.
    #[must_use]
    pub fn new(seed: u64, digest: u64, mut answers: BTreeMap<(String, usize), String>) -> Self {
        let mut counts: BTreeMap<_, BTreeMap<&str, usize>> = BTreeMap::new();
        for ((name, kind), answer) in &answers {
            *counts.entry((usual(name), *kind)).or_default().entry(answer).or_default() += 1;
        }
        let most = |answers: BTreeMap<&str, usize>| {
            answers.into_iter().max_by_key(|(_, count)| *count).map(|(text, _)| text.to_owned())
        };
        let frequent: BTreeMap<_, _> =
            counts.into_iter().filter_map(|(key, answers)| Some((key, most(answers)?))).collect();
        answers.retain(|(name, kind), answer| frequent.get(&(usual(name), *kind)) != Some(answer));
        answers.extend(frequent.into_iter().map(|((name, kind), answer)| ((name.to_owned(), kind), answer)));
        Self { seed, digest, answers }
    }
}

impl Lines for Answers {
    fn read(&mut self, line: &str) -> Option<()> {
        let mut parts = line.split('\t');
        let name = parts.next()?;
        for part in parts {
            let (kinds, answer) = part.split_once('=')?;
            for kind in kinds.split(',') {
                let place = KINDS.iter().position(|known| *known == kind)?;
                self.insert((name.to_owned(), place), answer.to_owned());
            }
        }
        Some(())
    }

    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: BTreeMap<&str, Vec<(&str, Vec<&str>)>> = BTreeMap::new();
        for ((name, kind), answer) in self {
            let line = lines.entry(name).or_default();
            match line.iter_mut().find(|(known, _)| known == answer) {
                Some((_, kinds)) => kinds.push(KINDS[*kind]),
                None => line.push((answer, vec![KINDS[*kind]])),
            }
        }
        for (name, parts) in lines {
            write!(f, "{name}")?;
            parts.iter().try_for_each(|(answer, kinds)| write!(f, "\t{}={answer}", kinds.join(",")))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        let text = "# CoreDNS-1.14.7\nset 17 0123456789abcdef\nlocal.\tA,SRV=nx a.local. 5\n\
                    web.a.local\tA=NOERROR | @ 5 A 10.0.0.1\tAAAA,MX=no a.local. 5\n";
        let recording = Recording::parse(text).unwrap();
        assert_eq!(recording.to_string(), text);
        assert_eq!(recording.sets[0].answer("web.a.local", 8), "no a.local. 5");
        assert_eq!(recording.sets[0].answer("web.a.local", 2), "nx a.local. 5");
        assert!(Recording::parse("web.a\tA=x\n").is_err());
    }

    #[test]
    fn the_most_frequent_answers_are_written_once() {
        let said = |name: &str, answer: &str| ((name.to_owned(), 0), answer.to_owned());
        let all =
            [said("a.local", "nx"), said("b.local", "nx"), said("web.local", "yes"), said("web.test", "no")];
        let recorded = Recorded::new(17, 0, all.into());
        assert_eq!(
            recorded.answers,
            [said("local.", "nx"), said("web.local", "yes"), said(".", "no")].into()
        );
        for (name, answer) in [("b.local", "nx"), ("web.local", "yes"), ("web.test", "no")] {
            assert_eq!(recorded.answer(name, 0), answer, "{name}");
        }
    }
}
