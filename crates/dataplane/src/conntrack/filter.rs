//! Which flows a dump is about: told to the kernel, and judged again here, because kernels before 5.8 ignore it.

use services::Protocol;

use super::flow::{CTA_TUPLE_ORIG, Flow};
use super::tuple::{self, IPV4, IPV6, Parts};
use crate::forwarding_table::FrontendKey;
use crate::netlink::Writer;

const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
/// Parts of a tuple that a filter compares, in host order.
const COMPARE_DESTINATION: u32 = 1 << 1;
const COMPARE_PROTOCOL: u32 = 1 << 3;
const COMPARE_DESTINATION_PORT: u32 = 1 << 5;
/// `NFPROTO_UNSPEC`: both families. The kernel then takes no filter.
const ANY_FAMILY: u8 = 0;

/// Which flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// All with ports.
    #[default]
    All,
    /// Those of a protocol.
    Protocol(Protocol),
    /// Those that clients sent to an address and port.
    Frontend(FrontendKey),
}

impl Filter {
    /// The dumps that it takes.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        match self {
            Self::All => vec![Scope { family: ANY_FAMILY, to: Parts::default() }],
            Self::Protocol(protocol) => {
                let to = Parts { protocol: Some(*protocol), ..Parts::default() };
                [IPV4, IPV6].map(|family| Scope { family, to }).to_vec()
            }
            Self::Frontend(key) => Scope::covering(std::iter::once(key)),
        }
    }
}

/// The flows of one dump.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// `NFPROTO_*`.
    pub(super) family: u8,
    to: Parts,
}

impl Scope {
    /// As few dumps as reach all flows to `keys`: one for each family, as narrow as what its keys share.
    pub(super) fn covering<'a>(keys: impl Iterator<Item = &'a FrontendKey>) -> Vec<Self> {
        let mut scopes: Vec<Self> = Vec::with_capacity(2);
        for key in keys {
            let scope = Self::of(key);
            match scopes.iter_mut().find(|known| known.family == scope.family) {
                Some(known) => known.widen(&scope.to),
                None => scopes.push(scope),
            }
        }
        scopes
    }

    fn of(key: &FrontendKey) -> Self {
        let to = Parts {
            protocol: Some(key.protocol),
            destination: Some(key.address),
            destination_port: Some(key.port),
            ..Parts::default()
        };
        Self { family: tuple::family(key.address), to }
    }

    fn widen(&mut self, other: &Parts) {
        let to = &mut self.to;
        to.protocol = to.protocol.filter(|_| to.protocol == other.protocol);
        to.destination = to.destination.filter(|_| to.destination == other.destination);
        to.destination_port = to.destination_port.filter(|_| to.destination_port == other.destination_port);
    }

    /// True for the flows that are meant.
    pub(super) fn matches(&self, flow: &Flow) -> bool {
        let destination = flow.original.destination;
        self.kernel_matches(flow) && self.to.destination.is_none_or(|address| address == destination.ip())
    }

    /// True for the flows that a kernel sends which does as it is told.
    pub(super) fn kernel_matches(&self, flow: &Flow) -> bool {
        let destination = flow.original.destination;
        let asked = self.asked();
        (self.family == ANY_FAMILY || self.family == flow.family())
            && asked.protocol.is_none_or(|protocol| protocol == flow.protocol)
            && asked.destination.is_none_or(|address| address == destination.ip())
            && asked.destination_port.is_none_or(|port| port == destination.port())
    }

    /// What the kernel is asked to compare. Without a protocol it compares no port. An IPv6 address it compares the
    /// wrong way round, up to 6.18 at least: `ctnetlink_filter_match_tuple` leaves out those that are equal.
    fn asked(&self) -> Parts {
        Parts {
            destination: self.to.destination.filter(|_| self.family != IPV6),
            destination_port: self.to.destination_port.filter(|_| self.to.protocol.is_some()),
            ..self.to
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let asked = self.asked();
        let compared = |is: bool, flag| if is { flag } else { 0 };
        let flags = compared(asked.protocol.is_some(), COMPARE_PROTOCOL)
            | compared(asked.destination.is_some(), COMPARE_DESTINATION)
            | compared(asked.destination_port.is_some(), COMPARE_DESTINATION_PORT);
        if flags == 0 {
            return;
        }
        asked.write(CTA_TUPLE_ORIG, writer);
        writer.nested(CTA_FILTER, |filter| {
            filter.attribute(CTA_FILTER_ORIG_FLAGS, &flags.to_ne_bytes());
            filter.attribute(CTA_FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
        });
    }
}
