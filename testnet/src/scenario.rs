//! A scenario: objects, the steps that change them, and what every stage must show after each step.
//!
//! The format is described in `scenarios/README.md`. This module holds what a file means and [`Scenario::parse`];
//! judging is done elsewhere ([`crate::judge`]), so that a scenario knows nothing of how a stage is asked.

mod facts;
mod objects;
mod packet;
mod parse;
mod query;
mod rewrite;
mod section;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::time::Duration;

pub use facts::{DetectLocal, Facts, NodeFacts};
pub use objects::{Event, Key, Kind, Object};
pub use packet::{Outcome, Packet, PacketCase, Probe, Source, Target};
pub use query::{Expected, QueryCase};
pub use rewrite::{Rewrite, rewrite};
pub use text::ParseError;

/// One scenario file.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Path as it was given to [`Scenario::parse`], for messages.
    pub file: String,
    /// First line of the heading comment.
    pub title: String,
    /// The cluster it plays in.
    pub facts: Facts,
    /// Its steps, at least one.
    pub steps: Vec<Step>,
}

/// Objects that come, change or go at once, and what must hold afterwards.
#[derive(Clone, Debug)]
pub struct Step {
    /// Line of its header in the file, from 1.
    pub line: usize,
    /// What the header says after the colon, or the section's name.
    pub title: String,
    /// What happens, in the file's order.
    pub events: Vec<Event>,
    /// How long nothing happens before: `wait`.
    pub pause: Duration,
    /// Every node's plane is replaced by a new process: `restart`.
    pub restart: bool,
    /// Dumps that are compared word for word.
    pub dumps: Vec<Dump>,
    /// Questions to DNS.
    pub queries: Vec<QueryCase>,
    /// Packets.
    pub packets: Vec<PacketCase>,
}

/// A stage whose state is a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// The service model's snapshot.
    Services,
    /// Objects that the model skipped in this step, with the reason.
    Skipped,
    /// One node's forwarding table.
    Forwarding,
    /// One node's nftables table, as the kernel holds it.
    Nft,
    /// The DNS zone.
    Zone,
}

impl Stage {
    /// Name of the section that holds it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Services => "services",
            Self::Skipped => "skipped",
            Self::Forwarding => "forwarding",
            Self::Nft => "nft",
            Self::Zone => "zone",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The expected text of one stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// Which stage.
    pub stage: Stage,
    /// Whose, for the stages that differ from node to node.
    pub node: String,
    /// Line of the header, from 1.
    pub line: usize,
    /// The expected lines.
    pub lines: Vec<String>,
    /// Where they stand in the file, as indexes of lines from 0, blank lines at the end left out.
    pub body: Range<usize>,
}

impl Scenario {
    /// Reads the text of a scenario; `file` is only used in messages.
    ///
    /// # Errors
    /// [`ParseError`] with file, line and column of the first thing that is not as it should be.
    pub fn parse(file: &str, text: &str) -> Result<Self, ParseError> {
        parse::parse(file, text)
    }

    /// True when it expects something of packets.
    #[must_use]
    pub fn has_packets(&self) -> bool {
        self.steps.iter().any(|step| !step.packets.is_empty())
    }

    /// True when it expects something of the kernel's rules.
    #[must_use]
    pub fn has_rules(&self) -> bool {
        self.expects(Stage::Nft)
    }

    fn expects(&self, stage: Stage) -> bool {
        self.steps.iter().any(|step| step.dumps.iter().any(|dump| dump.stage == stage))
    }

    /// True when it asks DNS, or expects something of the zone.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.has_queries() || self.expects(Stage::Zone)
    }

    /// True when it asks DNS.
    #[must_use]
    pub fn has_queries(&self) -> bool {
        self.steps.iter().any(|step| !step.queries.is_empty())
    }
}
