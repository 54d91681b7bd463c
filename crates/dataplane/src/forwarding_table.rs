//! What one node must do with packets to service addresses: the desired state of every data plane.
//!
//! Computed from the service model and this node's facts, without I/O or a clock, and updated in proportion to what
//! changed. It knows no kernel: the numbering of endpoints and all identifiers belong to the plane that needs them,
//! so that two planes can be fed from one table and a plane can keep what a previous process left.
//!
//! A table prints itself ([`std::fmt::Display`]) in the format of `sluice dump forwarding` and of scenarios, and
//! judges packets ([`ForwardingTable::judge`]) as the kernel will.

mod claims;
mod facts;
mod frontend;
mod judge;
mod selection;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use services::{Changes, ServiceName, ServiceState, Snapshot};

use claims::{Claims, Counted};
pub use facts::NodeFacts;
pub use frontend::{Frontend, FrontendKey, Target};
pub use judge::{Outcome, Packet};
pub(crate) use text::line;

/// The parts of a table that an update touched. A plane looks up what they are now; touched is not always changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableChanges {
    /// Frontends that came, changed or went.
    pub frontends: BTreeSet<FrontendKey>,
    /// Virtual IPs that may have come or gone.
    pub addresses: BTreeSet<IpAddr>,
    /// Endpoint addresses whose place in [`ForwardingTable::hairpins`] may have changed.
    pub hairpins: BTreeSet<IpAddr>,
    /// The node's facts (service CIDRs, locally answered ports) changed.
    pub facts: bool,
}

impl TableChanges {
    /// True when nothing was touched.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.addresses.is_empty() && self.hairpins.is_empty() && !self.facts
    }

    /// Adds the changes of a later update, so that several updates reach a plane as one.
    pub fn merge(&mut self, later: TableChanges) {
        self.frontends.extend(later.frontends);
        self.addresses.extend(later.addresses);
        self.hairpins.extend(later.hairpins);
        self.facts |= later.facts;
    }
}

/// Desired state of one node.
#[derive(Clone, Debug, Default)]
pub struct ForwardingTable {
    facts: NodeFacts,
    claims: Claims,
    addresses: Counted<IpAddr>,
    hairpins: Counted<IpAddr>,
}

impl ForwardingTable {
    /// An empty table of a node.
    #[must_use]
    pub fn new(facts: NodeFacts) -> Self {
        Self { facts, ..Self::default() }
    }

    /// The table of a whole snapshot: what [`ForwardingTable::update`] arrives at by any path.
    #[must_use]
    pub fn build(facts: NodeFacts, snapshot: &Snapshot) -> Self {
        let mut table = Self::new(facts);
        let mut touched = TableChanges::default();
        for (name, state) in &snapshot.services {
            table.insert(name, state, &mut touched);
        }
        table
    }

    /// Takes over the Services that changed; the work is proportional to them, not to the table.
    pub fn update(&mut self, snapshot: &Snapshot, changes: &Changes) -> TableChanges {
        let mut touched = TableChanges::default();
        for name in &changes.services {
            self.remove(name, &mut touched);
            if let Some(state) = snapshot.services.get(name) {
                self.insert(name, state, &mut touched);
            }
        }
        touched
    }

    /// Takes over new facts of the node. A node keeps its name for life; with another name the table is rebuilt.
    pub fn set_facts(&mut self, facts: NodeFacts, snapshot: &Snapshot) -> TableChanges {
        if facts == self.facts {
            return TableChanges::default();
        }
        let mut touched = TableChanges { facts: true, ..TableChanges::default() };
        if facts.name != self.facts.name {
            let old = std::mem::replace(self, Self::build(facts, snapshot));
            touched.frontends.extend(old.keys().chain(self.keys()));
            touched.addresses.extend(old.addresses().chain(self.addresses()));
            touched.hairpins.extend(old.hairpins().chain(self.hairpins()));
        } else {
            self.facts = facts;
        }
        touched
    }

    /// The node's facts.
    #[must_use]
    pub fn facts(&self) -> &NodeFacts {
        &self.facts
    }

    /// The frontend of an address and port. Of several Services that claim it, the first by name holds it.
    #[must_use]
    pub fn frontend(&self, key: &FrontendKey) -> Option<&Frontend> {
        self.claims.holder(key)
    }

    /// All frontends, in no order.
    pub fn frontends(&self) -> impl Iterator<Item = (&FrontendKey, &Frontend)> {
        self.claims.holders()
    }

    /// All keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = FrontendKey> {
        self.claims.holders().map(|(key, _)| *key)
    }

    /// Virtual IPs of live Services: their undefined ports are refused.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.iter().copied()
    }

    /// True for a virtual IP of a live Service.
    #[must_use]
    pub fn is_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address)
    }

    /// Addresses of endpoints that run on this node: a flow of theirs that comes back to themselves is masqueraded.
    /// Endpoints of an unknown node are here too.
    pub fn hairpins(&self) -> impl Iterator<Item = IpAddr> {
        self.hairpins.iter().copied()
    }

    /// True for the address of an endpoint on this node.
    #[must_use]
    pub fn is_hairpin(&self, address: IpAddr) -> bool {
        self.hairpins.contains(&address)
    }

    fn insert(&mut self, name: &ServiceName, state: &ServiceState, touched: &mut TableChanges) {
        let Some(service) = state.service.as_ref().filter(|service| service.proxied) else { return };
        for &address in service.cluster_ips() {
            for port in &service.ports {
                let key = FrontendKey::new(port.protocol, address, port.port);
                let selected = selection::select(&self.facts, service, port, state, address);
                let (service, port) = (name.clone(), port.name.clone());
                self.claim(
                    key,
                    Frontend { service, port, target: selected.target, local: selected.local },
                    touched,
                );
            }
        }
    }

    fn claim(&mut self, key: FrontendKey, frontend: Frontend, touched: &mut TableChanges) {
        let local = frontend.local.clone();
        if !self.claims.add(key, frontend) {
            return;
        }
        touched.frontends.insert(key);
        if self.addresses.add(key.address) {
            touched.addresses.insert(key.address);
        }
        touched.hairpins.extend(local.into_iter().filter(|&local| self.hairpins.add(local)));
    }

    fn remove(&mut self, name: &ServiceName, touched: &mut TableChanges) {
        for (key, frontend) in self.claims.remove(name) {
            touched.frontends.insert(key);
            if self.addresses.subtract(key.address) {
                touched.addresses.insert(key.address);
            }
            touched
                .hairpins
                .extend(frontend.local.into_iter().filter(|&local| self.hairpins.subtract(local)));
        }
    }
}
