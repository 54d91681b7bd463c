//! The numbers that the map `services` holds, and the chains that they stand for in the map `chains`.
//!
//! `services` holds no verdicts: whenever an element with a `goto` is added, the kernel walks every map of the table
//! whose values are verdicts, once for each hook that asks it (`nft_table_validate`), and a new service would cost the
//! more the more there are. Numbers cost nothing. From the number to the chain it is one more lookup, in a map of a
//! dozen elements; in between stands the packet's priority, because nft (1.0.6 to 1.1.3) aborts when it lists a lookup
//! whose key comes straight from another one. Only the first packet of a connection passes here, and the chains set its
//! priority to 0, which it has unless a process of this node (`SO_PRIORITY`) or a device gave it another: that one is lost
//! for this packet.

use std::fmt;

use super::expression::Verdict;
use super::rules::{BY_CLIENT, EXTERNAL, List, REFUSE};

/// In front of a count of endpoints; nft writes priorities as two halves, `5c00:3`.
const COUNT: u32 = 0x5c00_0000;
/// Counts end before this.
const FIXED: u32 = 0x5d00_0000;

/// A number of the map `services`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Number(u32);

impl Number {
    /// The chain that asks where the client comes from.
    pub(super) const EXTERNAL: Self = Self(FIXED + 1);
    /// The chain that asks where the client was before.
    pub(super) const BY_CLIENT: Self = Self(FIXED + 2);
    /// The chain that refuses.
    pub(super) const REFUSE: Self = Self(FIXED + 3);
    /// No chain: the packet is dropped.
    pub(super) const DROP: Self = Self(FIXED + 4);
    /// Those that are always there.
    pub(super) const ALWAYS: [Self; 5] =
        [Self::of_count(1), Self::EXTERNAL, Self::BY_CLIENT, Self::REFUSE, Self::DROP];

    /// The chain for this many endpoints, at least one; no Service has millions.
    pub(super) const fn of_count(count: u32) -> Self {
        let last = FIXED - COUNT - 1;
        Self(COUNT + if count < last { count } else { last })
    }

    /// How many endpoints it counts, if it does.
    pub(super) fn count(self) -> Option<u32> {
        (COUNT + 1..FIXED).contains(&self.0).then(|| self.0 - COUNT)
    }

    /// What the map `chains` says for it; a number that is none of ours drops.
    pub(super) fn verdict(self) -> Verdict {
        let chain = match (self.count(), self) {
            (Some(count), _) => List::All.chain_name(count),
            (None, Self::EXTERNAL) => EXTERNAL.to_owned(),
            (None, Self::BY_CLIENT) => BY_CLIENT.to_owned(),
            (None, Self::REFUSE) => REFUSE.to_owned(),
            _ => return Verdict::Drop,
        };
        Verdict::Goto(chain)
    }

    /// In host order, as the kernel keeps a priority.
    pub(super) fn bytes(self) -> Vec<u8> {
        self.0.to_ne_bytes().to_vec()
    }

    /// From an element's key or value; `None` when it is too short.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(u32::from_ne_bytes(*bytes.first_chunk()?)))
    }
}

/// As nft writes priorities.
impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}", self.0 >> 16, self.0 & 0xffff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_their_chains() {
        assert_eq!(Number::of_count(3), Number(0x5c00_0003));
        assert_eq!(Number::of_count(3).verdict(), Verdict::Goto("n3".to_owned()));
        assert_eq!(Number::of_bytes(&Number::EXTERNAL.bytes()), Some(Number::EXTERNAL));
        assert_eq!(Number::EXTERNAL.verdict(), Verdict::Goto("external".to_owned()));
        assert_eq!((Number::DROP.count(), Number(COUNT).count(), Number(FIXED).count()), (None, None, None));
        assert_eq!(Number::of_count(u32::MAX).count(), Some(0x00ff_ffff));
    }
}
