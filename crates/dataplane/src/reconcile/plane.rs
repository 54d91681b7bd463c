//! One family's table: what the kernel holds of it, and how it comes to hold what it should.

use std::collections::BTreeSet;

use services::Protocol;

use super::error::Error;
use crate::forwarding_table::{ForwardingTable, FrontendKey, TableChanges};
use crate::netlink::Socket;
use crate::nftables::{self, Family, Layout, Plan, Sent, State};

/// What an attempt did.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) sent: Sent,
    /// The kernel's state had to be read.
    pub(super) read_back: bool,
}

/// One family's table.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) layout: Layout,
    /// What the kernel holds; `None` until read, and after a failure.
    state: Option<State>,
    /// The kernel has no tables of this family: there is nothing to be done, and nothing more to be said.
    unsupported: bool,
}

impl Plane {
    pub(super) fn new(family: &'static Family, owned: bool) -> Self {
        let layout = Layout { family, table: nftables::TABLE, owned };
        Self { layout, state: None, unsupported: false }
    }

    /// Forgets what the kernel holds: the next attempt reads it.
    pub(super) fn forget(&mut self) {
        self.state = None;
    }

    /// Brings the kernel to `table`, and notes UDP frontends whose flows may be stale from then on. After an error the
    /// kernel's state counts as unknown.
    pub(super) fn attempt(
        &mut self,
        socket: &mut Socket,
        table: &ForwardingTable,
        changes: &TableChanges,
        stale: &mut BTreeSet<FrontendKey>,
    ) -> Result<Done, Error> {
        if self.unsupported {
            return Ok(Done::default());
        }
        let read_back = self.state.is_none();
        let (mut state, changes) = match self.state.take() {
            Some(state) => (state, Some(changes)),
            None => (self.take_over(socket)?, None),
        };
        let plan = Plan::new(&self.layout, &state, table, changes);
        stale.extend(plan.stale().filter(|key| key.protocol == Protocol::Udp));
        let sent = match self.carry_out(socket, &plan) {
            Err(Error::Write { cause, .. }) if plan.makes_table() && is_unsupported(&cause) => {
                tracing::warn!(
                    "this kernel has no {} tables: such frontends are not served",
                    self.layout.family
                );
                self.unsupported = true;
                return Ok(Done::default());
            }
            result => result?,
        };
        plan.apply(&mut state);
        self.state = Some(state);
        Ok(Done { sent, read_back })
    }

    /// Reads what is there, and becomes the owner of a table that a previous process left.
    fn take_over(&mut self, socket: &mut Socket) -> Result<State, Error> {
        let family = self.layout.family;
        nftables::take_over(socket, &self.layout).map_err(|cause| match cause.errno() {
            Some(libc::EPERM | libc::EOPNOTSUPP) if self.layout.owned => {
                Error::Owned { family: family.name(), cause }
            }
            _ => Error::Read { family: family.name(), cause },
        })
    }

    fn carry_out(&self, socket: &mut Socket, plan: &Plan) -> Result<Sent, Error> {
        if plan.is_empty() {
            return Ok(Sent::default());
        }
        let family = self.layout.family.name();
        nftables::carry_out(socket, &self.layout, plan).map_err(|cause| Error::Write { family, cause })
    }
}

/// The kernel was built, or started, without the family.
fn is_unsupported(cause: &crate::netlink::Error) -> bool {
    matches!(cause.errno(), Some(libc::EAFNOSUPPORT | libc::EOPNOTSUPP | libc::EPROTONOSUPPORT))
}
