//! Which answers of a batch leave together: neighbours to one peer, as one message that the kernel cuts into datagrams
//! (UDP_SEGMENT). A resolver asks for A and AAAA at a time from one port, and the way through routing, netfilter and the
//! device then costs once for both. All datagrams of such a message have one length, but for the last, which may be
//! shorter; so of two answers the longer one goes first.

use super::{BATCH, Reply};

/// Most datagrams in one message; the kernel takes 64.
const TOGETHER_MAX: usize = 8;
/// Longest datagram of such a message, which unlike a single one may not be fragmented: what fits the least MTU of IPv6.
const BYTES_MAX: usize = 1232;

/// Neighbouring answers to one peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Place of its first answer in [`Plan::order`].
    pub(super) start: usize,
    pub(super) count: usize,
    /// Length of all datagrams but the last.
    pub(super) segment: usize,
    full: bool,
}

/// Messages to send, in the order of the answers.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Answers by number, those of a group one after the other.
    pub(super) order: [usize; BATCH],
    groups: [Group; BATCH],
    count: usize,
}

impl Plan {
    /// Every answer from `first` on; those before `alone` leave alone.
    pub(super) fn new(
        replies: &[Reply],
        first: usize,
        alone: usize,
        is_same_peer: impl Fn(usize, usize) -> bool,
    ) -> Self {
        let mut plan = Self::default();
        for (place, number) in (first..replies.len()).enumerate() {
            plan.order[place] = number;
            let neighbour = number.checked_sub(1).filter(|before| *before >= first.max(alone));
            let same = neighbour.is_some_and(|before| is_same_peer(replies[before].to, replies[number].to));
            if !(same && plan.join(replies[number].length)) {
                plan.open(place, replies[number].length);
            }
        }
        plan
    }

    /// The messages.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups[..self.count]
    }

    fn open(&mut self, start: usize, length: usize) {
        self.groups[self.count] = Group { start, count: 1, segment: length, full: length > BYTES_MAX };
        self.count += 1;
    }

    /// Adds the next answer to the last group, if that can be.
    fn join(&mut self, length: usize) -> bool {
        let Some(group) = self.count.checked_sub(1).map(|last| &mut self.groups[last]) else { return false };
        let is_longer = length > group.segment;
        if group.full || length > BYTES_MAX || (is_longer && group.count > 1) {
            return false;
        }
        if is_longer {
            self.order.swap(group.start, group.start + 1);
        }
        group.full = length != group.segment || group.count + 1 == TOGETHER_MAX;
        group.segment = group.segment.max(length);
        group.count += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of these peers and lengths, as the groups that they leave in.
    fn groups(answers: &[(usize, usize)], alone: usize) -> Vec<(usize, Vec<usize>)> {
        let replies: Vec<Reply> = answers
            .iter()
            .enumerate()
            .map(|(to, (_, length))| Reply { to, start: 0, length: *length })
            .collect();
        let plan = Plan::new(&replies, 0, alone, |one, other| answers[one].0 == answers[other].0);
        let members = |group: &Group| plan.order[group.start..group.start + group.count].to_vec();
        plan.groups().iter().map(|group| (group.segment, members(group))).collect()
    }

    #[test]
    fn neighbours_to_one_peer_leave_together() {
        for (answers, expected) in [
            (vec![], vec![]),
            (vec![(1, 60)], vec![(60, vec![0])]),
            (vec![(1, 60), (2, 60)], vec![(60, vec![0]), (60, vec![1])]),
            (vec![(1, 60), (1, 60), (1, 60)], vec![(60, vec![0, 1, 2])]),
            // The shorter one is the last of its message, whichever came first.
            (vec![(1, 90), (1, 60), (1, 60)], vec![(90, vec![0, 1]), (60, vec![2])]),
            (vec![(1, 60), (1, 90), (1, 90)], vec![(90, vec![1, 0]), (90, vec![2])]),
            (vec![(1, 60), (1, 60), (1, 90)], vec![(60, vec![0, 1]), (90, vec![2])]),
            (vec![(1, 2000), (1, 60)], vec![(2000, vec![0]), (60, vec![1])]),
            (vec![(1, 60), (1, 2000)], vec![(60, vec![0]), (2000, vec![1])]),
            (vec![(1, 9); 10], vec![(9, (0..8).collect()), (9, vec![8, 9])]),
        ] {
            assert_eq!(groups(&answers, 0), expected, "{answers:?}");
        }
    }

    #[test]
    fn what_could_not_leave_together_leaves_alone() {
        assert_eq!(groups(&[(1, 60); 4], 2), [(60, vec![0]), (60, vec![1]), (60, vec![2, 3])]);
    }
}
