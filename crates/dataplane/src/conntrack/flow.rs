//! One tracked flow, and which flows a dump is about (`linux/netfilter/nfnetlink_conntrack.h`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use services::Protocol;

use crate::forwarding_table::FrontendKey;
use crate::netlink::{Attributes, Writer};

/// `NFNL_SUBSYS_CTNETLINK`.
pub(super) const SUBSYSTEM: u16 = 1;
pub(super) const NEW: u16 = 0;
pub(super) const GET: u16 = 1;
pub(super) const DELETE: u16 = 2;
pub(super) const AF_INET: u8 = 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
/// Parts of a tuple that a filter compares, in host order (kernel 5.8; older ones ignore the filter).
const COMPARE_DESTINATION: u32 = 1 << 1;
const COMPARE_PROTOCOL: u32 = 1 << 3;
const COMPARE_DESTINATION_PORT: u32 = 1 << 5;

/// Where packets of one direction come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Sender.
    pub source: SocketAddr,
    /// Receiver.
    pub destination: SocketAddr,
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.source, self.destination)
    }
}

/// A tracked flow. The difference between the tuples is the translation: the reply comes from the endpoint, and is
/// turned back into one from the virtual IP. Prints as `tcp 10.244.1.5:40000 -> 10.96.132.79:80, reply
/// 10.244.2.15:9898 -> 10.244.1.5:40000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Its protocol.
    pub protocol: Protocol,
    /// As the client sends.
    pub original: Tuple,
    /// As the answer comes in.
    pub reply: Tuple,
    /// The kernel's number of this flow: a later one with the same tuples has another.
    id: Option<Vec<u8>>,
    zone: Option<Vec<u8>>,
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

    pub(crate) fn parse(message: &Attributes<'_>) -> Option<Self> {
        let (protocol, original) = parse_tuple(&message.nested(CTA_TUPLE_ORIG))?;
        let (_, reply) = parse_tuple(&message.nested(CTA_TUPLE_REPLY))?;
        let bytes = |kind| message.get(kind).map(<[u8]>::to_vec);
        Some(Self { protocol, original, reply, id: bytes(CTA_ID), zone: bytes(CTA_ZONE) })
    }

    /// What identifies the flow for deletion.
    pub(super) fn write_key(&self, writer: &mut Writer) {
        let (source, destination) = (self.original.source, self.original.destination);
        writer.nested(CTA_TUPLE_ORIG, |tuple| {
            tuple.nested(CTA_TUPLE_IP, |ip| {
                write_address(ip, CTA_IP_V4_SRC, source.ip());
                write_address(ip, CTA_IP_V4_DST, destination.ip());
            });
            tuple.nested(CTA_TUPLE_PROTO, |proto| {
                proto.u8(CTA_PROTO_NUM, self.protocol.number());
                proto.attribute(CTA_PROTO_SRC_PORT, &source.port().to_be_bytes());
                proto.attribute(CTA_PROTO_DST_PORT, &destination.port().to_be_bytes());
            });
        });
        for (kind, value) in [(CTA_ID, &self.id), (CTA_ZONE, &self.zone)] {
            if let Some(value) = value {
                writer.attribute(kind, value);
            }
        }
    }
}

fn write_address(writer: &mut Writer, kind: u16, address: IpAddr) {
    if let IpAddr::V4(address) = address {
        writer.attribute(kind, &address.octets());
    }
}

/// `None` for protocols without ports, and for IPv6.
fn parse_tuple(tuple: &Attributes<'_>) -> Option<(Protocol, Tuple)> {
    let (ip, proto) = (tuple.nested(CTA_TUPLE_IP), tuple.nested(CTA_TUPLE_PROTO));
    let protocol = match proto.u8(CTA_PROTO_NUM)? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    let address = |kind| ip.u32(kind).map(Ipv4Addr::from);
    let source = SocketAddr::from((address(CTA_IP_V4_SRC)?, proto.u16(CTA_PROTO_SRC_PORT)?));
    let destination = SocketAddr::from((address(CTA_IP_V4_DST)?, proto.u16(CTA_PROTO_DST_PORT)?));
    Some((protocol, Tuple { source, destination }))
}

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
    pub(super) fn matches(&self, flow: &Flow) -> bool {
        match self {
            Self::All => true,
            Self::Protocol(protocol) => flow.protocol == *protocol,
            Self::Frontend(key) => flow.frontend() == *key,
        }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        let (protocol, destination) = match self {
            Self::All => return,
            Self::Protocol(protocol) => (*protocol, None),
            Self::Frontend(key) => (key.protocol, Some((key.address, key.port))),
        };
        writer.nested(CTA_TUPLE_ORIG, |tuple| {
            if let Some((address, _)) = destination {
                tuple.nested(CTA_TUPLE_IP, |ip| write_address(ip, CTA_IP_V4_DST, address));
            }
            tuple.nested(CTA_TUPLE_PROTO, |proto| {
                proto.u8(CTA_PROTO_NUM, protocol.number());
                if let Some((_, port)) = destination {
                    proto.attribute(CTA_PROTO_DST_PORT, &port.to_be_bytes());
                }
            });
        });
        let with_destination =
            if destination.is_some() { COMPARE_DESTINATION | COMPARE_DESTINATION_PORT } else { 0 };
        writer.nested(CTA_FILTER, |filter| {
            filter.attribute(CTA_FILTER_ORIG_FLAGS, &(COMPARE_PROTOCOL | with_destination).to_ne_bytes());
            filter.attribute(CTA_FILTER_REPLY_FLAGS, &0u32.to_ne_bytes());
        });
    }
}
