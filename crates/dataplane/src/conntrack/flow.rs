//! One tracked flow.

use std::fmt;

use services::Protocol;

use super::tuple::{self, Parts, Tuple};
use crate::forwarding_table::FrontendKey;
use crate::netlink::{Attributes, Writer};

pub(super) const CTA_TUPLE_ORIG: u16 = 1;
pub(super) const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;

/// A tracked flow. The difference between the tuples is the translation: the reply comes from the endpoint, and is
/// turned back into one from the virtual IP. Prints as `tcp 10.244.1.5:40000 -> 10.96.132.79:80, reply
/// 10.244.2.15:9898 -> 10.244.1.5:40000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// As the client sends.
    pub original: Tuple,
    /// As the answer comes in.
    pub reply: Tuple,
    /// The kernel's number of this flow: a later one with the same tuples has another.
    pub(super) id: Option<u32>,
    pub(super) zone: Option<u16>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, reply {}", self.protocol, self.original, self.reply)
    }
}

impl Flow {
    /// Address, port and protocol that the client asked for.
    #[must_use]
    pub fn frontend(&self) -> FrontendKey {
        let destination = self.original.destination;
        FrontendKey::new(self.protocol, destination.ip(), destination.port())
    }

    /// True when the destination was translated.
    #[must_use]
    pub fn is_translated(&self) -> bool {
        self.reply.source != self.original.destination
    }

    /// `None` for protocols without ports, and when a part is missing.
    pub(crate) fn parse(message: &Attributes<'_>) -> Option<Self> {
        let (protocol, original) = tuple::parse(&message.nested(CTA_TUPLE_ORIG))?;
        let (_, reply) = tuple::parse(&message.nested(CTA_TUPLE_REPLY))?;
        Some(Self { protocol, original, reply, id: message.u32(CTA_ID), zone: message.u16(CTA_ZONE) })
    }

    /// Its family, as netfilter numbers it.
    pub(super) fn family(&self) -> u8 {
        tuple::family(self.original.destination.ip())
    }

    /// What identifies the flow for deletion. The tuple must be there: without one the kernel deletes all flows.
    pub(super) fn write_key(&self, writer: &mut Writer) {
        Parts::of(self.protocol, &self.original).write(CTA_TUPLE_ORIG, writer);
        if let Some(id) = self.id {
            writer.u32(CTA_ID, id);
        }
        if let Some(zone) = self.zone {
            writer.attribute(CTA_ZONE, &zone.to_be_bytes());
        }
    }
}
