//! Dense numbers for endpoints: `0..n`, because `numgen` picks a number and every number must lead somewhere.
//!
//! Kept as stable as that allows: an endpoint keeps its number while it stays, newcomers and the highest numbers fill
//! the holes. A change of one endpoint is then at most three element operations, whatever the service's size.

use std::net::SocketAddr;

/// From one numbering to the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Renumbering {
    /// The endpoints by their new numbers.
    pub(super) order: Vec<SocketAddr>,
    /// Numbers whose endpoint is new or another.
    pub(super) put: Vec<u32>,
    /// Those of `put` that had another endpoint before.
    pub(super) replaced: Vec<u32>,
    /// Numbers that are no longer.
    pub(super) dropped: Vec<u32>,
}

/// Numbers `new` (sorted, without duplicates) starting from `old`, which may have holes or surprises when it was read
/// back from a kernel that somebody else edited.
pub(super) fn renumber(old: &[Option<SocketAddr>], new: &[SocketAddr]) -> Renumbering {
    let mut order: Vec<Option<SocketAddr>> = vec![None; new.len()];
    let mut placed = vec![false; new.len()];
    for (slot, endpoint) in order.iter_mut().zip(old) {
        if let Some(place) = endpoint.and_then(|endpoint| new.binary_search(&endpoint).ok())
            && !std::mem::replace(&mut placed[place], true)
        {
            *slot = *endpoint;
        }
    }
    let mut rest = new.iter().zip(&placed).filter(|(_, placed)| !**placed).map(|(endpoint, _)| *endpoint);
    let mut result = Renumbering::default();
    for (number, slot) in (0u32..).zip(order) {
        if slot.is_none() {
            result.put.push(number);
            if matches!(old.get(number as usize), Some(Some(_))) {
                result.replaced.push(number);
            }
        }
        result.order.extend(slot.or_else(|| rest.next()));
    }
    let beyond = (0u32..).zip(old).skip(new.len()).filter(|(_, endpoint)| endpoint.is_some());
    result.dropped = beyond.map(|(number, _)| number).collect();
    result
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn endpoint(host: u8) -> SocketAddr {
        SocketAddr::from(([10, 244, 1, host], 80))
    }

    fn hosts(list: &[u8]) -> Vec<SocketAddr> {
        list.iter().copied().map(endpoint).collect()
    }

    #[test]
    fn the_last_moves_into_the_hole() {
        let old: Vec<_> = hosts(&[1, 2, 3, 4]).into_iter().map(Some).collect();
        let renumbering = renumber(&old, &hosts(&[1, 3, 4]));
        let expected =
            Renumbering { order: hosts(&[1, 4, 3]), put: vec![1], replaced: vec![1], dropped: vec![3] };
        assert_eq!(renumbering, expected);
    }

    #[test]
    fn one_replaced_is_one_put() {
        let old: Vec<_> = hosts(&[1, 2, 3]).into_iter().map(Some).collect();
        let renumbering = renumber(&old, &hosts(&[1, 3, 9]));
        assert_eq!(renumbering.order, hosts(&[1, 9, 3]));
        assert_eq!((renumbering.put, renumbering.dropped), (vec![1], vec![]));
    }

    proptest! {
        /// Whatever was there: afterwards exactly the wanted ones, each once, and the operations lead there.
        #[test]
        fn operations_lead_to_the_wanted_set(
            old in prop::collection::vec(prop::option::of(0u8..12), 0..12),
            new in prop::collection::btree_set(0u8..12, 0..12),
        ) {
            let old: Vec<_> = old.into_iter().map(|host| host.map(endpoint)).collect();
            let new: Vec<_> = new.into_iter().map(endpoint).collect();
            let renumbering = renumber(&old, &new);
            prop_assert_eq!(renumbering.order.iter().copied().collect::<BTreeSet<_>>(), new.iter().copied().collect());
            prop_assert_eq!(renumbering.order.len(), new.len());
            let mut kernel = old.clone();
            for number in &renumbering.replaced {
                prop_assert!(kernel[*number as usize].take().is_some());
            }
            kernel.resize(old.len().max(new.len()), None);
            for number in &renumbering.put {
                let slot = &mut kernel[*number as usize];
                prop_assert!(slot.is_none(), "the kernel refuses a second value for a key");
                *slot = Some(renumbering.order[*number as usize]);
            }
            for number in &renumbering.dropped {
                prop_assert!(kernel[*number as usize].take().is_some());
            }
            kernel.truncate(new.len());
            prop_assert_eq!(kernel, renumbering.order.into_iter().map(Some).collect::<Vec<_>>());
        }
    }
}
