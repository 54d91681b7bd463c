//! What comes and goes of the map from numbers to chains.

use std::collections::BTreeSet;

use crate::nftables::message::Chain;
use crate::nftables::number::Number;
use crate::nftables::rules::List;
use crate::nftables::state::State;

/// Elements of the map `chains`. A number stays as long as the table, as its chain does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NumberPlan {
    pub(in crate::nftables) added: Vec<Number>,
    /// Somebody else's, or what somebody else made of ours: before the others come.
    pub(in crate::nftables) removed: Vec<Number>,
}

impl NumberPlan {
    /// The numbers of `new` chains; with `all` those of every chain that is there, too, and no others.
    pub(in crate::nftables) fn new(state: &State, new: &[Chain], all: bool) -> Self {
        let counted = |name: &str| match List::of_chain(name)? {
            (List::All, count) => Some(Number::of_count(count)),
            (List::Outside, _) => None,
        };
        let mut wanted: BTreeSet<Number> = new.iter().filter_map(|chain| counted(&chain.name)).collect();
        if all {
            wanted.extend(Number::ALWAYS);
            wanted.extend(state.chains.keys().filter_map(|name| counted(name)));
        }
        let held = &state.numbers;
        let leads = |number: &Number| held.get(number) == Some(&Some(number.verdict()));
        let astray = |number: &&Number| !leads(number) && (all || wanted.contains(number));
        let unwanted = |number: &&Number| all && !wanted.contains(number);
        Self {
            removed: held.keys().filter(|number| astray(number) || unwanted(number)).copied().collect(),
            added: wanted.iter().filter(|number| !leads(number)).copied().collect(),
        }
    }

    pub(super) fn apply(self, state: &mut State) {
        for number in self.removed {
            state.numbers.remove(&number);
        }
        state.numbers.extend(self.added.into_iter().map(|number| (number, Some(number.verdict()))));
    }
}
