//! Carries out a plan: one transaction, or several when one send cannot carry it.
//!
//! Order within and across transactions: structure, endpoints that come or are replaced, service ports with what
//! belongs to them, addresses, endpoints that go. So a service port never counts more endpoints than there are, and
//! between two transactions every service is whole, old or new. Chains that a running table lacks go in a transaction
//! before: a packet walks the rules of the generation that it met first, but finds the maps' newest elements, and the
//! chain that they lead to must not be empty for it.

use std::collections::BTreeMap;

use super::element::{Element, PER_MESSAGE, address_key, hairpin_key, interval, service_key};
use super::message::{Layout, SUBSYSTEM};
use super::plan::{FrontendPlan, Members, Plan};
use super::set::{ANSWERED, HAIRPINS, PODS, SERVICE_CIDRS, SERVICE_IPS, SETS};
use crate::netlink::{Batch, Error, Socket};

/// Frontends of which all elements but endpoints go in one transaction together.
const FRONTENDS_PER_GROUP: usize = 128;

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Transactions committed.
    pub(crate) transactions: u32,
    /// Elements added or deleted in them.
    pub(crate) elements: usize,
    /// Bytes of them.
    pub(crate) bytes: usize,
}

/// Tells the kernel a plan. On an error an unknown part of it may have taken effect: read back.
pub(crate) fn carry_out(socket: &mut Socket, layout: &Layout, plan: &Plan) -> Result<Sent, Error> {
    let limit = socket.send_limit();
    let mut packer = Packer { socket, layout, batch: Batch::new(SUBSYSTEM), limit, sent: Sent::default() };
    packer.structure(plan)?;
    packer.endpoints(&plan.frontends)?;
    packer.frontends(&plan.frontends)?;
    packer.sets(plan)?;
    packer.dropped(&plan.frontends)?;
    packer.flush()?;
    Ok(packer.sent)
}

/// Elements to delete and add, by set, that go in one transaction.
#[derive(Debug, Default)]
pub(super) struct Changes {
    sets: BTreeMap<&'static str, (Vec<Element>, Vec<Element>)>,
    count: usize,
}

impl Changes {
    pub(super) fn remove(&mut self, set: &'static str, element: Element) {
        self.sets.entry(set).or_default().0.push(element);
        self.count += 1;
    }

    pub(super) fn add(&mut self, set: &'static str, element: Element) {
        self.sets.entry(set).or_default().1.push(element);
        self.count += 1;
    }

    fn write(&self, layout: &Layout, batch: &mut Batch) {
        for (set, (removed, added)) in &self.sets {
            removed.chunks(PER_MESSAGE).for_each(|chunk| layout.delete_elements(batch, set, chunk));
            added.chunks(PER_MESSAGE).for_each(|chunk| layout.add_elements(batch, set, chunk));
        }
    }
}

/// Collects groups of messages that must not be torn apart, and sends when the next does not fit.
struct Packer<'a> {
    socket: &'a mut Socket,
    layout: &'a Layout,
    batch: Batch,
    limit: usize,
    sent: Sent,
}

impl Packer<'_> {
    fn put(&mut self, group: Batch) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        if self.batch.len() + group.len() > self.limit {
            self.flush()?;
        }
        self.batch.extend(group);
        Ok(())
    }

    fn put_changes(&mut self, changes: &mut Changes) -> Result<(), Error> {
        let changes = std::mem::take(changes);
        self.sent.elements += changes.count;
        let layout = self.layout;
        self.put(group(|batch| changes.write(layout, batch)))
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut batch = std::mem::replace(&mut self.batch, Batch::new(SUBSYSTEM));
        if batch.is_empty() {
            return Ok(());
        }
        self.socket.transact(&mut batch)?;
        self.sent.transactions += 1;
        self.sent.bytes += batch.len();
        Ok(())
    }

    /// Table, sets and chains, and the subnets by which rules tell pods.
    fn structure(&mut self, plan: &Plan) -> Result<(), Error> {
        let layout = self.layout;
        self.put(group(|batch| structure(layout, plan, batch)))?;
        self.members(PODS, &plan.sets.pods, interval)?;
        let led_to_later = !plan.make_table && !plan.new_chains.is_empty();
        if led_to_later { self.flush() } else { Ok(()) }
    }

    /// Endpoints that come or are replaced. A replaced one's old and new value share a group.
    fn endpoints(&mut self, frontends: &[FrontendPlan]) -> Result<(), Error> {
        let mut changes = Changes::default();
        for plan in frontends {
            plan.put_endpoints(&mut changes);
            if changes.count >= PER_MESSAGE {
                self.put_changes(&mut changes)?;
            }
        }
        self.put_changes(&mut changes)
    }

    fn frontends(&mut self, frontends: &[FrontendPlan]) -> Result<(), Error> {
        let mut changes = Changes::default();
        for plan in frontends {
            plan.link(&mut changes);
            if changes.count >= FRONTENDS_PER_GROUP {
                self.put_changes(&mut changes)?;
            }
        }
        self.put_changes(&mut changes)
    }

    fn dropped(&mut self, frontends: &[FrontendPlan]) -> Result<(), Error> {
        let mut changes = Changes::default();
        for plan in frontends {
            plan.drop_endpoints(&mut changes);
            if changes.count >= PER_MESSAGE {
                self.put_changes(&mut changes)?;
            }
        }
        self.put_changes(&mut changes)
    }

    fn sets(&mut self, plan: &Plan) -> Result<(), Error> {
        let sets = &plan.sets;
        self.members(SERVICE_IPS, &sets.service_ips, |ip| vec![Element::key(address_key(*ip))])?;
        self.members(HAIRPINS, &sets.hairpins, |ip| vec![Element::key(hairpin_key(*ip))])?;
        self.members(ANSWERED, &sets.answered, |key| vec![Element::key(service_key(key))])?;
        self.members(SERVICE_CIDRS, &sets.service_cidrs, interval)
    }

    fn members<T>(
        &mut self,
        set: &'static str,
        members: &Members<T>,
        elements: impl Fn(&T) -> Vec<Element>,
    ) -> Result<(), Error> {
        let removed: Vec<Element> = members.removed.iter().flat_map(&elements).collect();
        let added: Vec<Element> = members.added.iter().flat_map(&elements).collect();
        let layout = self.layout;
        self.sent.elements += removed.len() + added.len();
        for chunk in removed.chunks(PER_MESSAGE) {
            self.put(group(|batch| layout.delete_elements(batch, set, chunk)))?;
        }
        for chunk in added.chunks(PER_MESSAGE) {
            self.put(group(|batch| layout.add_elements(batch, set, chunk)))?;
        }
        Ok(())
    }
}

fn group(fill: impl FnOnce(&mut Batch)) -> Batch {
    let mut batch = Batch::new(SUBSYSTEM);
    fill(&mut batch);
    batch
}

/// All chains exist before any rule, so that rules may go anywhere.
fn structure(layout: &Layout, plan: &Plan, batch: &mut Batch) {
    if plan.delete_table {
        layout.delete_table(batch);
    }
    if plan.make_table {
        layout.new_table(batch);
        for (id, set) in (1..).zip(SETS) {
            layout.new_set(batch, set, id);
        }
    }
    plan.new_chains.iter().for_each(|chain| layout.new_chain(batch, chain));
    plan.refilled_chains.iter().for_each(|chain| layout.flush_chain(batch, &chain.name));
    let chains = plan.new_chains.iter().chain(&plan.refilled_chains);
    chains.for_each(|chain| layout.new_rules(batch, chain));
}
