//! What came of a question, as recordings spell it: `10.244.1.16:9898 | 10.244.2.15:9898 masq sticky`, `reject`.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where one packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fate {
    /// It reached an endpoint.
    Forward(SocketAddr, Seen),
    /// It went on, or was delivered, as it was.
    Pass,
    /// The sender was told that nobody is there.
    Reject,
    /// Nothing.
    Drop,
}

/// Which address an endpoint sees the packet come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Seen {
    /// The sender's own.
    Sender,
    /// The node's.
    Node,
    /// Another.
    Other(IpAddr),
}

/// What came of many packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// All that was seen.
    pub fates: BTreeSet<Fate>,
    /// There are several fates, and each sender always met the same.
    pub sticky: bool,
}

impl Answer {
    /// True when one question met different rules: packets were forwarded and not forwarded, or lost and refused.
    #[must_use]
    pub fn is_torn(&self) -> bool {
        self.fates.len() > 1 && !self.fates.iter().all(|fate| matches!(fate, Fate::Forward(..)))
    }
}

impl From<Fate> for Answer {
    fn from(fate: Fate) -> Self {
        Self { fates: [fate].into(), sticky: false }
    }
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(endpoint, Seen::Sender) => endpoint.fmt(f),
            Self::Forward(endpoint, Seen::Node) => write!(f, "{endpoint} masq"),
            Self::Forward(endpoint, Seen::Other(source)) => write!(f, "{endpoint} from {source}"),
            Self::Pass => f.write_str("pass"),
            Self::Reject => f.write_str("reject"),
            Self::Drop => f.write_str("drop"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fates: Vec<String> = self.fates.iter().map(Fate::to_string).collect();
        f.write_str(&fates.join(" | "))?;
        if self.sticky { f.write_str(" sticky") } else { Ok(()) }
    }
}

impl Answer {
    /// Reads what [`fmt::Display`] prints.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, sticky) = text.strip_suffix(" sticky").map_or((text, false), |text| (text, true));
        let fates = text.split(" | ").map(parse_fate).collect::<Option<_>>()?;
        Some(Self { fates, sticky })
    }
}

fn parse_fate(text: &str) -> Option<Fate> {
    let (endpoint, seen) = match text {
        "pass" => return Some(Fate::Pass),
        "reject" => return Some(Fate::Reject),
        "drop" => return Some(Fate::Drop),
        _ => match text.split_once(' ') {
            None => (text, Seen::Sender),
            Some((endpoint, "masq")) => (endpoint, Seen::Node),
            Some((endpoint, other)) => (endpoint, Seen::Other(other.strip_prefix("from ")?.parse().ok()?)),
        },
    };
    Some(Fate::Forward(endpoint.parse().ok()?, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_it_reads() {
        for text in [
            "reject",
            "10.244.1.2:80 | 10.244.2.2:80 masq sticky",
            "[fd00::1]:80 from fd00::2",
            "pass | drop",
        ] {
            assert_eq!(Answer::parse(text).map(|answer| answer.to_string()).as_deref(), Some(text));
        }
        assert_eq!(Answer::parse("nowhere"), None);
    }
}
