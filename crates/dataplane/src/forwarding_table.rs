//! What one node must do with packets to service addresses: the desired state of every data plane.
//!
//! Computed from the service model and this node's facts, without I/O or a clock, and updated in proportion to what
//! changed. It knows no kernel: the numbering of endpoints and all identifiers belong to the plane that needs them,
//! so that two planes can be fed from one table and a plane can keep what a previous process left.
//!
//! A table prints itself ([`std::fmt::Display`]) in the format of `sluice dump forwarding` and of scenarios, and
//! judges packets ([`ForwardingTable::judge`]) as the kernel will, and says why ([`ForwardingTable::explain`]).

mod claims;
mod demand;
mod explain;
mod facts;
mod frontend;
mod judge;
mod selection;
mod text;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;

use services::{Changes, ServiceName, ServiceState, Snapshot, TrafficPolicy};

use claims::{Claims, Counted};
pub use explain::{Destination, EndpointReason, Explanation, MasqueradeReason, Reasons, ports_at};
pub use facts::{NodeFacts, Pods};
pub use frontend::{Frontend, FrontendKey, Kind, Masquerade, Target};
pub use judge::{Outcome, Packet};
pub use selection::Standing;
pub(crate) use text::{answered, attributes, fact_lines, line, targets};

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
        for (name, state) in snapshot.services.iter() {
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

    /// Takes over new facts of the node. Where they decide on frontends (name, zone, addresses), the table is computed
    /// anew and what differs is touched.
    pub fn set_facts(&mut self, facts: NodeFacts, snapshot: &Snapshot) -> TableChanges {
        if facts == self.facts {
            return TableChanges::default();
        }
        let mut touched = TableChanges { facts: true, ..TableChanges::default() };
        if facts.selects_like(&self.facts) {
            self.facts = facts;
            return touched;
        }
        let old = std::mem::replace(self, Self::build(facts, snapshot));
        let keys: BTreeSet<FrontendKey> = old.keys().chain(self.keys()).collect();
        let differs = |key: &FrontendKey| old.frontend(key) != self.frontend(key);
        touched.frontends = keys.into_iter().filter(differs).collect();
        touched.addresses.extend(old.addresses().chain(self.addresses()));
        touched.hairpins.extend(old.hairpins().chain(self.hairpins()));
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
        for demand in demand::demands(&self.facts, service) {
            for port in service.ports.iter() {
                let selected = selection::select(&self.facts, port, state, demand.ipv4);
                for vip in &demand.vips {
                    let Some(number) = vip.port(port) else { continue };
                    let key = FrontendKey::new(port.protocol, vip.address, number);
                    let frontend = if self.facts.answered.contains(&key) {
                        let elsewhere = selection::elsewhere(&self.facts, port, state, demand.ipv4);
                        // A memory of its own would be shared with lists that have this node in them.
                        Frontend { affinity: None, ..frontend(name, service, port, vip, &elsewhere) }
                    } else {
                        frontend(name, service, port, vip, &selected)
                    };
                    self.claim(key, frontend, touched);
                }
            }
        }
    }

    fn claim(&mut self, key: FrontendKey, frontend: Frontend, touched: &mut TableChanges) {
        let (local, owns_address) = (frontend.local.clone(), frontend.kind == Kind::ClusterIp);
        if !self.claims.add(key, frontend) {
            return;
        }
        touched.frontends.insert(key);
        if owns_address && self.addresses.add(key.address) {
            touched.addresses.insert(key.address);
        }
        touched.hairpins.extend(local.into_iter().filter(|&local| self.hairpins.add(local)));
    }

    fn remove(&mut self, name: &ServiceName, touched: &mut TableChanges) {
        for (key, frontend) in self.claims.remove(name) {
            touched.frontends.insert(key);
            if frontend.kind == Kind::ClusterIp && self.addresses.subtract(key.address) {
                touched.addresses.insert(key.address);
            }
            touched
                .hairpins
                .extend(frontend.local.into_iter().filter(|&local| self.hairpins.subtract(local)));
        }
    }
}

fn frontend(
    name: &ServiceName,
    service: &services::Service,
    port: &services::ServicePort,
    vip: &demand::Vip,
    selected: &selection::Selected,
) -> Frontend {
    let external_local = vip.kind != Kind::ClusterIp && service.external_policy == TrafficPolicy::Local;
    let policy = if vip.kind == Kind::ClusterIp { service.internal_policy } else { TrafficPolicy::Cluster };
    let target = selected.target(policy);
    // Without any endpoint it is refused, wherever the connection comes from.
    let outside = (external_local && target != Target::Refuse).then(|| selected.target(TrafficPolicy::Local));
    let mut local = selected.here.clone();
    if target.endpoints().is_empty() && outside.as_ref().is_none_or(|outside| outside.endpoints().is_empty())
    {
        local = Box::default();
    }
    Frontend {
        service: name.clone(),
        port: std::sync::Arc::clone(&port.name),
        kind: vip.kind,
        target,
        policy,
        outside,
        sources: std::sync::Arc::clone(&vip.sources),
        affinity: service.affinity(),
        local,
    }
}
