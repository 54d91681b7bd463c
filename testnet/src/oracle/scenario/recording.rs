//! What was answered in scenarios, as a file.
//!
//! ```text
//! # Kubernetes v1.37.2
//! step hairpin worker-1 1 0123456789abcdef
//! 10.244.1.16 -> tcp 10.96.132.79:80 => 10.244.1.16:9898 masq | 10.244.2.15:9898
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::super::answer::Answer;
use crate::scenario::{NodeFacts, Scenario};

/// A step on a node of a scenario.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    scenario: String,
    node: String,
    /// From 1.
    step: usize,
}

impl At {
    pub(super) fn new(scenario: &Scenario, node: &NodeFacts, index: usize) -> Self {
        let name = Path::new(&scenario.file).file_stem().unwrap_or_default().to_string_lossy();
        Self { scenario: name.into_owned(), node: node.name.clone(), step: index + 1 }
    }

    pub(super) fn is_of(&self, scenario: &str) -> bool {
        self.scenario == scenario
    }
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScenarioRecording {
    /// What answered.
    pub version: String,
    /// With a digest of what it knew, and its answers by packet.
    steps: BTreeMap<At, (u64, BTreeMap<String, Answer>)>,
}

impl ScenarioRecording {
    pub(super) fn add(&mut self, at: &At, digest: u64, packet: &str, answer: Answer) {
        let (known, answers) = self.steps.entry(at.clone()).or_default();
        *known = digest;
        answers.insert(packet.to_owned(), answer);
    }

    /// The answer, if it was given by one who knew the same.
    pub(super) fn get(&self, at: &At, digest: u64, packet: &str) -> Option<&Answer> {
        let (known, answers) = self.steps.get(at)?;
        answers.get(packet).filter(|_| *known == digest)
    }

    /// Reads a file; the number of the line that is not understood otherwise.
    ///
    /// # Errors
    /// That line.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let (mut recording, mut step) = (Self::default(), None);
        for (index, line) in text.lines().enumerate() {
            let wrong = index + 1;
            if let Some(version) = line.strip_prefix("# ") {
                version.clone_into(&mut recording.version);
            } else if let Some(title) = line.strip_prefix("step ") {
                step = Some(parse_title(title).ok_or(wrong)?);
            } else {
                let (at, digest) = step.as_ref().ok_or(wrong)?;
                let (packet, answer) = line.split_once(" => ").ok_or(wrong)?;
                recording.add(at, *digest, packet, Answer::parse(answer).ok_or(wrong)?);
            }
        }
        Ok(recording)
    }
}

fn parse_title(text: &str) -> Option<(At, u64)> {
    let words: Vec<&str> = text.split(' ').collect();
    let [scenario, node, step, digest] = words[..] else { return None };
    let at = At { scenario: scenario.to_owned(), node: node.to_owned(), step: step.parse().ok()? };
    Some((at, u64::from_str_radix(digest, 16).ok()?))
}

impl fmt::Display for ScenarioRecording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# {}", self.version)?;
        for (At { scenario, node, step }, (digest, answers)) in &self.steps {
            writeln!(f, "step {scenario} {node} {step} {digest:016x}")?;
            answers.iter().try_for_each(|(packet, answer)| writeln!(f, "{packet} => {answer}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        let text = "# Kubernetes v1.37.2\nstep hairpin worker-1 1 0123456789abcdef\n\
                    10.244.1.16 -> tcp 10.96.132.79:80 => 10.244.1.16:9898 masq | 10.244.2.15:9898\n";
        assert_eq!(ScenarioRecording::parse(text).unwrap().to_string(), text);
        assert_eq!(ScenarioRecording::parse("nothing"), Err(1));
    }
}
