//! Carries out a plan: one transaction, or several when one send cannot carry it.
//!
//! Order within and across transactions: structure, what affinity needs, endpoints that come or are replaced, service ports with what
//! belongs to them, addresses, endpoints that go, what only an earlier policy needed, chains that nothing leads to. So a service port never counts more endpoints than there are, and
//! between two transactions every service is whole, old or new. Chains that a running table lacks go in a transaction
//! before: a packet walks the rules of the generation that it met first, but finds the maps' newest elements, and the
//! chain that they lead to must not be empty for it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::counter::Count;
use super::element::{Element, PER_MESSAGE, address_key, hairpin_key, interval, service_key};
use super::message::{Layout, SUBSYSTEM};
use super::plan::{AffinityPlan, FrontendPlan, Members, NumberPlan, Plan, Retired, StickyChain, Subnets};
use super::readback::counts;
use super::set::{ANSWERED, CHAINS, HAIRPINS, PODS, SERVICE_CIDRS, SERVICE_IPS};
use crate::forwarding_table::FrontendKey;
use crate::netlink::{Batch, Error, Socket};

/// Frontends of which all elements but endpoints go in one transaction together.
const FRONTENDS_PER_GROUP: usize = 128;

/// Frontends whose counts are asked for together: each comes in a datagram of its own, and all have to fit the receive
/// buffer.
const COUNTS_PER_MESSAGE: usize = 16;

/// Ids of sets of clients within a transaction; those of the fixed sets are lower.
const FIRST_CLIENTS_ID: u32 = 1000;

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Transactions committed.
    pub(crate) transactions: u32,
    /// Elements added or deleted in them.
    pub(crate) elements: usize,
    /// Bytes of them.
    pub(crate) bytes: usize,
    /// The longest that the kernel worked on one of them.
    pub(crate) longest: Duration,
    /// The kernel did not let go yet of chains that nothing leads to.
    pub(crate) busy: bool,
}

/// What goes in one transaction. The kernel keeps all others out while it works on one.
const SIZE: usize = 256 << 10;

/// Room for the transaction that replaces a table of another layout: several would leave services without rules in
/// between. It is a limit, not an allocation; 50,000 services with five endpoints each take about 30 MB.
const REPLACEMENT_LIMIT: usize = 512 << 20;

/// Tells the kernel a plan. On an error an unknown part of it may have taken effect: read back.
pub(crate) fn carry_out(socket: &mut Socket, layout: &Layout, plan: &Plan) -> Result<Sent, Error> {
    if !plan.delete_table {
        return send(socket, layout, plan);
    }
    let usual = socket.send_limit();
    socket.force_send_limit(REPLACEMENT_LIMIT);
    let sent = send(socket, layout, plan);
    socket.force_send_limit(usual);
    sent
}

fn send(socket: &mut Socket, layout: &Layout, plan: &Plan) -> Result<Sent, Error> {
    socket.take_longest();
    let size = if plan.delete_table { REPLACEMENT_LIMIT } else { SIZE };
    let size = size.min(socket.send_limit());
    let mut packer = Packer { socket, layout, batch: Batch::new(SUBSYSTEM), size, sent: Sent::default() };
    packer.structure(plan)?;
    packer.affinity(&plan.affinity)?;
    if !plan.make_table && plan.makes_chains() {
        packer.flush()?;
    }
    packer.endpoints(&plan.frontends)?;
    packer.frontends(&plan.frontends)?;
    packer.sets(plan)?;
    packer.dropped(&plan.frontends)?;
    packer.flush()?;
    packer.released(&plan.frontends)?;
    packer.flush()?;
    packer.retire(&plan.affinity.retired)?;
    Ok(Sent { longest: packer.socket.take_longest(), ..packer.sent })
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
    /// Bytes of a transaction, unless one group alone has more.
    size: usize,
    sent: Sent,
}

impl Packer<'_> {
    fn put(&mut self, group: Batch) -> Result<(), Error> {
        if group.is_empty() {
            return Ok(());
        }
        if self.batch.len() + group.len() > self.size {
            self.flush()?;
        }
        self.make_room(&group)?;
        self.batch.extend(group);
        Ok(())
    }

    /// A group that no send carries is refused before the kernel is asked, by the name of what it is about.
    fn make_room(&mut self, group: &Batch) -> Result<(), Error> {
        let bytes = group.len();
        if bytes > self.socket.send_limit() {
            self.socket.force_send_limit(bytes);
        }
        let limit = self.socket.send_limit();
        if bytes <= limit {
            Ok(())
        } else {
            Err(Error::TooLarge { object: group.label(1).to_owned(), bytes, limit })
        }
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
        self.numbers(&plan.numbers)?;
        self.subnets(PODS, &plan.sets.pods)
    }

    /// Where numbers lead; there are few.
    fn numbers(&mut self, plan: &NumberPlan) -> Result<(), Error> {
        let removed: Vec<Element> = plan.removed.iter().map(|number| Element::key(number.bytes())).collect();
        let added: Vec<Element> =
            plan.added.iter().map(|number| Element::verdict(number.bytes(), number.verdict())).collect();
        let layout = self.layout;
        self.sent.elements += removed.len() + added.len();
        self.put(group(|batch| {
            removed.chunks(PER_MESSAGE).for_each(|chunk| layout.delete_elements(batch, CHAINS, chunk));
            added.chunks(PER_MESSAGE).for_each(|chunk| layout.add_elements(batch, CHAINS, chunk));
        }))
    }

    /// Sets of clients and the chains that ask them; each is of use only when the next is there.
    fn affinity(&mut self, plan: &AffinityPlan) -> Result<(), Error> {
        let layout = self.layout;
        for (id, set) in (FIRST_CLIENTS_ID..).zip(&plan.new_sets) {
            self.put(group(|batch| layout.new_clients(batch, &set.name, id)))?;
            let clients: Vec<Element> = set.clients.iter().map(Element::client).collect();
            for chunk in clients.chunks(PER_MESSAGE) {
                self.put(group(|batch| layout.add_elements(batch, &set.name, chunk)))?;
            }
        }
        for StickyChain { chain, exists } in &plan.chains {
            self.put(group(|batch| {
                if *exists {
                    layout.flush_chain(batch, &chain.name);
                } else {
                    layout.new_chain(batch, chain);
                }
                layout.new_rules(batch, chain);
            }))?;
        }
        Ok(())
    }

    /// Deletes what nothing leads to any more, in a transaction of its own: kernels before 6.2 hold a chain for a while
    /// after the map's element that led there has gone, and then refuse.
    fn retire(&mut self, retired: &Retired) -> Result<(), Error> {
        if retired.is_empty() {
            return Ok(());
        }
        let layout = self.layout;
        let mut result = Ok(());
        for chain in &retired.chains {
            result = result.and_then(|()| self.put(group(|batch| layout.delete_chain(batch, chain))));
        }
        for set in &retired.sets {
            result = result.and_then(|()| self.put(group(|batch| layout.delete_set(batch, set))));
        }
        match result.and_then(|()| self.flush()) {
            Err(error) if error.errno() == Some(libc::EBUSY) => self.sent.busy = true,
            result => return result,
        }
        Ok(())
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

    /// What the elements that are replaced have counted. What they count from now until the transaction is lost.
    fn counts(&mut self, plans: &[FrontendPlan]) -> HashMap<FrontendKey, Count> {
        let replaced: Vec<FrontendKey> =
            plans.iter().filter(|plan| plan.replaces_service()).map(|plan| plan.key).collect();
        if replaced.is_empty() { HashMap::new() } else { counts(self.socket, self.layout, &replaced) }
    }

    fn frontends(&mut self, frontends: &[FrontendPlan]) -> Result<(), Error> {
        let mut changes = Changes::default();
        for plans in frontends.chunks(COUNTS_PER_MESSAGE) {
            let counts = self.counts(plans);
            for plan in plans {
                plan.link(counts.get(&plan.key).copied(), &mut changes);
                if changes.count >= FRONTENDS_PER_GROUP {
                    self.put_changes(&mut changes)?;
                }
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

    fn released(&mut self, frontends: &[FrontendPlan]) -> Result<(), Error> {
        let mut changes = Changes::default();
        for plan in frontends {
            plan.release(&mut changes);
            if changes.count >= PER_MESSAGE {
                self.put_changes(&mut changes)?;
            }
        }
        self.put_changes(&mut changes)
    }

    fn sets(&mut self, plan: &Plan) -> Result<(), Error> {
        let sets = &plan.sets;
        self.members(SERVICE_IPS, &sets.service_ips, |ip| address_key(*ip))?;
        self.members(HAIRPINS, &sets.hairpins, |ip| hairpin_key(*ip))?;
        self.members(ANSWERED, &sets.answered, service_key)?;
        self.subnets(SERVICE_CIDRS, &sets.service_cidrs)
    }

    /// There are few subnets: they go in one transaction.
    fn subnets(&mut self, set: &'static str, subnets: &Subnets) -> Result<(), Error> {
        let elements: Vec<Element> = subnets.added.iter().flat_map(interval).collect();
        let layout = self.layout;
        self.sent.elements += elements.len() + usize::from(subnets.flush);
        self.put(group(|batch| {
            if subnets.flush {
                layout.flush_set(batch, set);
            }
            elements.chunks(PER_MESSAGE).for_each(|chunk| layout.add_elements(batch, set, chunk));
        }))
    }

    fn members<T>(
        &mut self,
        set: &'static str,
        members: &Members<T>,
        key: impl Fn(&T) -> Vec<u8>,
    ) -> Result<(), Error> {
        let element = |member: &T| Element::key(key(member));
        let removed: Vec<Element> = members.removed.iter().map(element).collect();
        let added: Vec<Element> = members.added.iter().map(element).collect();
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
        for (id, set) in (1..).zip(layout.sets()) {
            layout.new_set(batch, set, id);
        }
    }
    plan.new_chains.iter().for_each(|chain| layout.new_chain(batch, chain));
    plan.refilled_chains.iter().for_each(|chain| layout.flush_chain(batch, &chain.name));
    let chains = plan.new_chains.iter().chain(&plan.refilled_chains);
    chains.for_each(|chain| layout.new_rules(batch, chain));
}
