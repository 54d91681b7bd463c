//! One family's table: what the kernel holds of it, and how it comes to hold what it should.

use std::collections::BTreeSet;
use std::time::Instant;

use services::Protocol;

use super::aside::Aside;
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

impl Done {
    pub(super) fn add(&mut self, sent: Sent) {
        self.sent.transactions += sent.transactions;
        self.sent.elements += sent.elements;
        self.sent.bytes += sent.bytes;
        self.sent.longest = self.sent.longest.max(sent.longest);
    }

    pub(super) fn add_all(&mut self, later: Self) {
        self.add(later.sent);
        self.read_back |= later.read_back;
    }
}

/// One family's table.
#[derive(Debug)]
pub(super) struct Plane {
    pub(super) layout: Layout,
    /// What the kernel holds; `None` until read, and after a failure.
    state: Option<State>,
    /// All rules are to be written anew, whatever their comments say.
    doubted: bool,
    /// The kernel has no tables of this family: there is nothing to be done, and nothing more to be said.
    unsupported: bool,
    /// What the kernel refuses.
    pub(super) aside: Aside,
}

impl Plane {
    pub(super) fn new(family: &'static Family, owned: bool, late_refusal: bool) -> Self {
        let layout = Layout { owned, late_refusal, ..Layout::plain(family, nftables::TABLE) };
        Self { layout, state: None, doubted: false, unsupported: false, aside: Aside::default() }
    }

    /// Forgets what the kernel holds: the next attempt reads it.
    pub(super) fn forget(&mut self) {
        self.state = None;
    }

    /// Somebody changed the table: what a rule does may differ although its comment is the same.
    pub(super) fn doubt(&mut self) {
        self.state = None;
        self.doubted = true;
    }

    /// Brings the kernel to `table`, and notes UDP frontends whose flows may be stale from then on. After an error the
    /// kernel's state counts as unknown. What the kernel refuses of frontends and addresses is no error: it is set aside.
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
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.take_over(socket)?,
        };
        let plan = self.plan(&state, table, (!read_back).then_some(changes));
        let makes_table = plan.makes_table();
        let mut done = Done { read_back, ..Done::default() };
        match self.commit(socket, &mut state, plan, stale) {
            Ok(sent) => done.add(sent),
            Err(Error::Write { cause, .. }) if makes_table && is_unsupported(&cause) => {
                tracing::warn!(
                    "this kernel has no {} tables: such frontends are not served",
                    self.layout.family
                );
                self.unsupported = true;
                return Ok(Done::default());
            }
            // What was read just now cannot be the reason. When it was not, it is read first.
            Err(Error::Write { cause, .. }) if read_back && cause.is_verdict() => {
                return self.isolate(socket, table, stale);
            }
            Err(error) => return Err(error),
        }
        let due = self.aside.due(changes, Instant::now());
        if !due.is_empty() {
            done.add_all(self.bisect(socket, table, &mut state, vec![due], stale)?);
        }
        self.remember(state);
        Ok(done)
    }

    /// What the kernel holds is known again.
    pub(super) fn remember(&mut self, state: State) {
        self.state = Some(state);
        self.doubted = false;
    }

    /// From what the kernel holds to `table`, without the frontends that are set aside.
    fn plan(&self, state: &State, table: &ForwardingTable, changes: Option<&TableChanges>) -> Plan {
        if self.aside.is_empty() {
            return Plan::new(&self.layout, state, table, changes);
        }
        let touched = match changes {
            Some(changes) => self.without_refused(changes),
            None => self.without_refused(&Plan::everything(state, table)),
        };
        Plan::part(&self.layout, state, table, &touched)
    }

    /// Carries out a plan and notes it in `state`.
    pub(super) fn commit(
        &self,
        socket: &mut Socket,
        state: &mut State,
        plan: Plan,
        stale: &mut BTreeSet<FrontendKey>,
    ) -> Result<Sent, Error> {
        stale.extend(plan.stale().filter(|key| key.protocol == Protocol::Udp));
        let sent = self.carry_out(socket, &plan)?;
        plan.apply(state, !sent.busy);
        Ok(sent)
    }

    /// Reads what is there, and becomes the owner of a table that a previous process left.
    pub(super) fn take_over(&self, socket: &mut Socket) -> Result<State, Error> {
        let family = self.layout.family;
        let state = nftables::take_over(socket, &self.layout).map_err(|cause| match cause.errno() {
            Some(libc::EPERM | libc::EOPNOTSUPP) if self.layout.owned => {
                Error::Owned { family: family.name(), cause }
            }
            _ => Error::Read { family: family.name(), cause },
        });
        state.map(|state| if self.doubted { state.doubting_rules() } else { state })
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
