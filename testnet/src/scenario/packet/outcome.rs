//! What becomes of a packet.

use std::fmt;
use std::net::SocketAddr;

use crate::scenario::text::{ParseError, Word, Words};

const OUTCOMES: &str = "`reject`, `drop`, `local`, `pass`, `refused-by` a target, or targets as ADDRESS:PORT [masq] joined by \
                        `|`, with `sticky` or `kept` in front for one of them";

/// Where a packet may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Address and port after translation.
    pub address: SocketAddr,
    /// True when the server must see the node's address instead of the client's.
    pub masquerade: bool,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It arrives at one of these, sorted.
    Targets(Vec<Target>),
    /// It arrives at one of these, and so does whatever the same client sends: `sticky`.
    Sticky(Vec<Target>),
    /// It arrives where the client's last `sticky` line found it, which is one of these: `kept`.
    Kept(Vec<Target>),
    /// It arrives at an endpoint where nobody listens; the endpoint's refusal reaches the client: `refused-by`.
    RefusedBy(Target),
    /// The sender is told at once that nobody is there.
    Reject,
    /// Nothing comes back and nothing leaves the node.
    Drop,
    /// A process of the node itself answers, without translation.
    Local,
    /// It goes on as it is, to whoever has the address.
    Pass,
}

impl Outcome {
    /// Where it may arrive, translated.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        match self {
            Self::Targets(targets) | Self::Sticky(targets) | Self::Kept(targets) => targets,
            Self::RefusedBy(target) => std::slice::from_ref(target),
            Self::Reject | Self::Drop | Self::Local | Self::Pass => &[],
        }
    }

    /// True when the client's earlier connections decide.
    #[must_use]
    pub fn is_sticky(&self) -> bool {
        matches!(self, Self::Sticky(_) | Self::Kept(_))
    }
}

pub(super) fn parse(words: &mut Words<'_>) -> Result<Outcome, ParseError> {
    let first = words.need(OUTCOMES)?;
    match first.text {
        "reject" => Ok(Outcome::Reject),
        "drop" => Ok(Outcome::Drop),
        "local" => Ok(Outcome::Local),
        "pass" => Ok(Outcome::Pass),
        "refused-by" => {
            let target = words.need("a target as ADDRESS:PORT")?;
            Ok(Outcome::RefusedBy(parse_target(&target, words, "a target as ADDRESS:PORT")?))
        }
        "sticky" => Ok(Outcome::Sticky(parse_next_targets(words)?)),
        "kept" => Ok(Outcome::Kept(parse_next_targets(words)?)),
        _ => Ok(Outcome::Targets(parse_targets(&first, words, OUTCOMES)?)),
    }
}

fn parse_next_targets(words: &mut Words<'_>) -> Result<Vec<Target>, ParseError> {
    let what = "a target as ADDRESS:PORT";
    let first = words.need(what)?;
    parse_targets(&first, words, what)
}

fn parse_targets(first: &Word<'_>, words: &mut Words<'_>, what: &str) -> Result<Vec<Target>, ParseError> {
    let mut targets = vec![parse_target(first, words, what)?];
    while words.take_exactly("|") {
        let next = words.need("a target as ADDRESS:PORT")?;
        targets.push(parse_target(&next, words, "a target as ADDRESS:PORT")?);
    }
    targets.sort_unstable();
    Ok(targets)
}

fn parse_target(word: &Word<'_>, words: &mut Words<'_>, what: &str) -> Result<Target, ParseError> {
    Ok(Target { address: word.parse(what)?, masquerade: words.take_exactly("masq") })
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.address, if self.masquerade { " masq" } else { "" })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |targets: &[Target]| {
            let targets: Vec<String> = targets.iter().map(Target::to_string).collect();
            targets.join(" | ")
        };
        match self {
            Self::Targets(targets) => f.write_str(&list(targets)),
            Self::Sticky(targets) => write!(f, "sticky {}", list(targets)),
            Self::Kept(targets) => write!(f, "kept {}", list(targets)),
            Self::RefusedBy(target) => write!(f, "refused-by {target}"),
            Self::Reject => f.write_str("reject"),
            Self::Drop => f.write_str("drop"),
            Self::Local => f.write_str("local"),
            Self::Pass => f.write_str("pass"),
        }
    }
}
