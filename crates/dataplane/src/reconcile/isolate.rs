//! Finds the frontends because of which the kernel refuses a transaction, sets them aside and commits the rest.
//!
//! A transaction is all or nothing, and the refused message may be about hundreds of elements: so the frontends are
//! halved until single ones are refused. What belongs to no frontend (the table, its chains, its addresses) goes first:
//! when that is refused, no frontend is to blame.

use std::collections::BTreeSet;
use std::time::Instant;

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
        let keys: Vec<FrontendKey> = Plan::part(&self.layout, &state, table, &everything).keys().collect();
        let rest = TableChanges { frontends: BTreeSet::new(), ..everything };
        let mut done = Done { read_back: true, ..Done::default() };
        let plan = Plan::part(&self.layout, &state, table, &rest);
        done.add(self.commit(socket, &mut state, plan, stale)?);
        done.add_all(self.bisect(socket, table, &mut state, halves(keys), stale)?);
        self.remember(state);
        Ok(done)
    }

    /// Commits these parts of the frontends, each as far as it can be halved. Those that can be committed are no longer
    /// set aside, others are.
    pub(super) fn bisect(
        &mut self,
        socket: &mut Socket,
        table: &ForwardingTable,
        state: &mut State,
        mut parts: Vec<Vec<FrontendKey>>,
        stale: &mut BTreeSet<FrontendKey>,
    ) -> Result<Done, Error> {
        let (mut done, mut refusals) = (Done::default(), 0);
        while let Some(keys) = parts.pop() {
            let part = TableChanges { frontends: keys.iter().copied().collect(), ..TableChanges::default() };
            let committed = socket.committed();
            let plan = Plan::part(&self.layout, state, table, &part);
            match self.commit(socket, state, plan, stale) {
                Ok(sent) => {
                    done.add(sent);
                    self.aside.remove(&keys);
                }
                Err(Error::Write { cause, .. }) if cause.is_verdict() => {
                    if socket.committed() != committed {
                        *state = self.take_over(socket)?;
                    }
                    refusals += 1;
                    if keys.len() > 1 && refusals < REFUSALS {
                        parts.extend(halves(keys));
                    } else {
                        let now = Instant::now();
                        keys.iter().for_each(|key| self.aside.put(*key, table, &cause, now));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// What was touched, but for the frontends that are set aside.
    pub(super) fn without_refused(&self, touched: &TableChanges) -> TableChanges {
        let mut touched = touched.clone();
        touched.frontends.retain(|key| !self.aside.contains(key));
        touched
    }
}

/// Two halves, the first on top; one of one.
fn halves(mut keys: Vec<FrontendKey>) -> Vec<Vec<FrontendKey>> {
    let second = keys.split_off(keys.len() / 2);
    [second, keys].into_iter().filter(|half| !half.is_empty()).collect()
}
