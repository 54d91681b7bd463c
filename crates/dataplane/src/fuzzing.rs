//! Doors for fuzz targets to what only the kernel talks to. Nothing in the product uses them.

use crate::conntrack::{Conntrack, Filter};
use crate::netlink::replay;
use crate::nftables::{self, IPV4, IPV6, Layout, TABLE};

/// Replies of nf_tables: to a transaction, a call and a dump, and a whole table read back and listed.
pub fn netlink_reply(bytes: &[u8]) {
    replay::replies(bytes);
    for family in [&IPV4, &IPV6] {
        let layout = Layout::plain(family, TABLE);
        if let Ok(state) = nftables::read(&mut replay::over(bytes), &layout) {
            let _ = nftables::lines(&[(family, state)]);
        }
    }
}

/// A dump of connection tracking: what is read prints, and the deletion of each flow can be asked for.
pub fn conntrack_dump(bytes: &[u8]) {
    let mut conntrack = Conntrack::over(replay::wire(bytes), replay::wire(bytes));
    let Ok(flows) = conntrack.flows(&Filter::All, 1000) else { return };
    for flow in flows {
        assert!(!flow.to_string().is_empty());
        let _ = conntrack.delete(&flow);
    }
}
