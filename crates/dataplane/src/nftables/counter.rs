//! The counter that each element of `services` carries: how many connections were made to the service port. A lookup that
//! finds the element counts the packet, and nat chains see the first packet of each flow only.

use crate::netlink::{Attributes, Writer};

const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_COUNTER_BYTES: u16 = 1;
const NFTA_COUNTER_PACKETS: u16 = 2;

/// What an element's counter has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) packets: u64,
    pub(super) bytes: u64,
}

/// A counter as an expression that belongs to a set's elements, not to a rule; it goes on from `count`.
pub(super) fn write_counter(expression: &mut Writer, count: Option<Count>) {
    expression.text(NFTA_EXPR_NAME, "counter");
    expression.nested(NFTA_EXPR_DATA, |data| {
        if let Some(count) = count {
            data.attribute(NFTA_COUNTER_BYTES, &count.bytes.to_be_bytes());
            data.attribute(NFTA_COUNTER_PACKETS, &count.packets.to_be_bytes());
        }
    });
}

/// What the expression of an element has counted; `None` when it is no counter.
pub(super) fn read_counter(expression: &Attributes<'_>) -> Option<Count> {
    if expression.text(NFTA_EXPR_NAME) != Some("counter") {
        return None;
    }
    let data = expression.nested(NFTA_EXPR_DATA);
    Some(Count { packets: data.u64(NFTA_COUNTER_PACKETS)?, bytes: data.u64(NFTA_COUNTER_BYTES)? })
}
