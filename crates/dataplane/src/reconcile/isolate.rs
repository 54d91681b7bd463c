//! Finds the parts because of which the kernel refuses a transaction, sets them aside and commits the rest.
//!
//! A transaction is all or nothing, and the refused message may be about hundreds of elements: so frontends, virtual IPs
//! and endpoints' addresses are halved until single ones are refused. The table, its chains and subnets go first: when
//! they are refused, none of those is to blame.

use std::collections::BTreeSet;
use std::time::Instant;

use super::aside::Part;
use super::error::Error;
use super::plane::{Done, Plane};
use crate::forwarding_table::{ForwardingTable, FrontendKey, TableChanges};
use crate::netlink::Socket;
use crate::nftables::{Plan, State};

/// Refusals of one attempt. One frontend among ten thousand takes some 14; when there are more, the frontends that are
/// not tried yet are set aside, too, until the next.
const REFUSALS: u32 = 128;

impl Plane {
    /// Brings the kernel to `table` piece by piece, after it has refused the whole.
    pub(super) fn isolate(
        &mut self,
        socket: &mut Socket,
        table: &ForwardingTable,
        stale: &mut BTreeSet<FrontendKey>,
    ) -> Result<Done, Error> {
        // The refused plan may have been of several transactions.
        let mut state = self.take_over(socket)?;
        let everything = self.without_refused(&Plan::everything(&state, table));
        let parts = differing(&Plan::part(&self.layout, &state, table, &everything));
        let rest = TableChanges { facts: everything.facts, ..TableChanges::default() };
        let mut done = Done { read_back: true, ..Done::default() };
        let plan = Plan::part(&self.layout, &state, table, &rest);
        done.add(self.commit(socket, &mut state, plan, stale)?);
        done.add_all(self.bisect(socket, table, &mut state, halves(parts), stale)?);
        self.remember(state);
        Ok(done)
    }

    /// Commits these groups of parts, each as far as it can be halved. Those that can be committed are no longer
    /// set aside, others are.
    pub(super) fn bisect(
        &mut self,
        socket: &mut Socket,
        table: &ForwardingTable,
        state: &mut State,
        mut groups: Vec<Vec<Part>>,
        stale: &mut BTreeSet<FrontendKey>,
    ) -> Result<Done, Error> {
        let (mut done, mut refusals) = (Done::default(), 0);
        while let Some(parts) = groups.pop() {
            let mut touched = TableChanges::default();
            parts.iter().for_each(|part| part.touch(&mut touched));
            let committed = socket.committed();
            let plan = Plan::part(&self.layout, state, table, &touched);
            match self.commit(socket, state, plan, stale) {
                Ok(sent) => {
                    done.add(sent);
                    self.aside.remove(&parts);
                }
                Err(Error::Write { cause, .. }) if cause.is_verdict() => {
                    if socket.committed() != committed {
                        *state = self.take_over(socket)?;
                    }
                    refusals += 1;
                    if parts.len() > 1 && refusals < REFUSALS {
                        groups.extend(halves(parts));
                    } else {
                        let now = Instant::now();
                        parts.iter().for_each(|part| self.aside.put(*part, table, &cause, now));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// What was touched, but for what is set aside.
    pub(super) fn without_refused(&self, touched: &TableChanges) -> TableChanges {
        let mut touched = touched.clone();
        touched.frontends.retain(|key| !self.aside.contains(Part::Frontend(*key)));
        touched.addresses.retain(|address| !self.aside.contains(Part::Address(*address)));
        touched.hairpins.retain(|address| !self.aside.contains(Part::Hairpin(*address)));
        touched
    }
}

/// What a plan changes and that can be set aside: addresses after the frontends that they are of.
fn differing(plan: &Plan) -> Vec<Part> {
    let frontends = plan.keys().map(Part::Frontend);
    frontends.chain(plan.addresses().map(Part::Address)).chain(plan.hairpins().map(Part::Hairpin)).collect()
}

/// Two halves, the first on top; one of one.
fn halves(mut parts: Vec<Part>) -> Vec<Vec<Part>> {
    let second = parts.split_off(parts.len() / 2);
    [second, parts].into_iter().filter(|half| !half.is_empty()).collect()
}
