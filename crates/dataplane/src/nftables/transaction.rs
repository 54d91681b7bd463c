//! Carries out a plan: one transaction, or several when one send cannot carry it.
//!
//! Order within and across transactions: structure, endpoints that come or are replaced, service ports with what
//! belongs to their addresses, endpoints that go. So a service port never counts more endpoints than there are, and
//! between two transactions every service is whole, old or new.

use super::element::{
    Element, PER_MESSAGE, address_key, endpoint_key, endpoint_value, hairpin_key, service_key,
};
use super::family::Family;
use super::message::{Layout, SUBSYSTEM};
use super::plan::{FrontendPlan, Plan};
use super::set::{ANSWERED, ENDPOINTS, HAIRPINS, SERVICE_CIDRS, SERVICE_IPS, SERVICES, SETS};
use crate::netlink::{Batch, Error, Socket};

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    /// Transactions committed.
    pub(crate) transactions: u32,
    /// Bytes of them.
    pub(crate) bytes: usize,
}

/// Tells the kernel a plan. On an error an unknown part of it may have taken effect: read back.
pub(crate) fn carry_out(socket: &mut Socket, layout: &Layout, plan: &Plan) -> Result<Sent, Error> {
    let limit = socket.send_limit();
    let mut packer = Packer { socket, batch: Batch::new(SUBSYSTEM), limit, sent: Sent::default() };
    packer.put(structure(layout, plan))?;
    for frontends in plan.frontends.chunks(PER_MESSAGE) {
        packer.put_endpoints(layout, frontends)?;
    }
    for frontends in plan.frontends.chunks(PER_MESSAGE) {
        packer.put(services(layout, frontends))?;
    }
    packer.put_members(layout, plan)?;
    let dropped: Vec<Element> = plan.frontends.iter().flat_map(dropped).collect();
    for elements in dropped.chunks(PER_MESSAGE) {
        packer.put(group(|batch| layout.delete_elements(batch, ENDPOINTS, elements)))?;
    }
    packer.flush()?;
    Ok(packer.sent)
}

/// Collects groups of messages that must not be torn apart, and sends when the next does not fit.
struct Packer<'a> {
    socket: &'a mut Socket,
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

    /// Endpoints that come or are replaced. A replaced one's old and new value share a group.
    fn put_endpoints(&mut self, layout: &Layout, frontends: &[FrontendPlan]) -> Result<(), Error> {
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for plan in frontends {
            removed.extend(
                plan.numbers.replaced.iter().map(|number| Element::key(endpoint_key(&plan.key, *number))),
            );
            added.extend(plan.numbers.put.iter().map(|number| {
                let endpoint = plan.numbers.order[*number as usize];
                Element::data(endpoint_key(&plan.key, *number), endpoint_value(endpoint))
            }));
            if added.len() >= PER_MESSAGE {
                self.put_replacement(layout, &mut removed, &mut added)?;
            }
        }
        self.put_replacement(layout, &mut removed, &mut added)
    }

    fn put_replacement(
        &mut self,
        layout: &Layout,
        removed: &mut Vec<Element>,
        added: &mut Vec<Element>,
    ) -> Result<(), Error> {
        let group = group(|batch| {
            removed.chunks(PER_MESSAGE).for_each(|chunk| layout.delete_elements(batch, ENDPOINTS, chunk));
            added.chunks(PER_MESSAGE).for_each(|chunk| layout.add_elements(batch, ENDPOINTS, chunk));
        });
        removed.clear();
        added.clear();
        self.put(group)
    }

    fn put_members(&mut self, layout: &Layout, plan: &Plan) -> Result<(), Error> {
        let address = |ip: &_| Element::key(address_key(*ip));
        let ips = &plan.service_ips;
        self.put_set(layout, SERVICE_IPS, ips.removed.iter().map(address), ips.added.iter().map(address))?;
        let pair = |ip: &_| Element::key(hairpin_key(*ip));
        let hairpins = &plan.hairpins;
        self.put_set(layout, HAIRPINS, hairpins.removed.iter().map(pair), hairpins.added.iter().map(pair))?;
        let key = |key: &_| Element::key(service_key(key));
        let answered = &plan.answered;
        self.put_set(layout, ANSWERED, answered.removed.iter().map(key), answered.added.iter().map(key))?;
        let cidrs = &plan.service_cidrs;
        let interval = |cidr: &ipnet::IpNet| interval(layout.family, cidr);
        self.put_set(
            layout,
            SERVICE_CIDRS,
            cidrs.removed.iter().flat_map(interval),
            cidrs.added.iter().flat_map(interval),
        )
    }

    fn put_set(
        &mut self,
        layout: &Layout,
        set: &str,
        removed: impl Iterator<Item = Element>,
        added: impl Iterator<Item = Element>,
    ) -> Result<(), Error> {
        let (removed, added): (Vec<_>, Vec<_>) = (removed.collect(), added.collect());
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

/// Table, sets and chains. All chains exist before any rule, so that rules may go anywhere.
fn structure(layout: &Layout, plan: &Plan) -> Batch {
    group(|batch| {
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
    })
}

fn services(layout: &Layout, frontends: &[FrontendPlan]) -> Batch {
    let unlinked = frontends.iter().filter(|plan| plan.unlink);
    let removed: Vec<Element> = unlinked.map(|plan| Element::key(service_key(&plan.key))).collect();
    let linked = frontends.iter().filter(|plan| plan.link);
    let added: Vec<Element> = linked
        .filter_map(|plan| {
            let service = plan.service.as_ref()?;
            Some(Element::verdict(service_key(&plan.key), service.route.verdict(), &service.owner))
        })
        .collect();
    group(|batch| {
        layout.delete_elements(batch, SERVICES, &removed);
        layout.add_elements(batch, SERVICES, &added);
    })
}

fn dropped(plan: &FrontendPlan) -> impl Iterator<Item = Element> {
    plan.numbers.dropped.iter().map(|number| Element::key(endpoint_key(&plan.key, *number)))
}

/// A subnet as its first address and the first behind it; one that ends with the address space has no end.
fn interval(family: &Family, cidr: &ipnet::IpNet) -> Vec<Element> {
    let mut elements = vec![Element::key(address_key(cidr.network()))];
    let mut end = address_key(cidr.broadcast());
    for byte in end.iter_mut().rev() {
        let (next, carried) = byte.overflowing_add(1);
        *byte = next;
        if !carried {
            elements.push(Element::interval_end(end));
            break;
        }
    }
    debug_assert!(family.contains(cidr.addr()));
    elements
}
