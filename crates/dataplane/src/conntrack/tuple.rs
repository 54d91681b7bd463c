//! Addresses, ports and protocol of one direction, to netlink and back (`linux/netfilter/nfnetlink_conntrack.h`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use services::Protocol;

use crate::netlink::{Attributes, Writer};

/// `NFPROTO_IPV4`.
pub(super) const IPV4: u8 = 2;
/// `NFPROTO_IPV6`.
pub(super) const IPV6: u8 = 10;

const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_IP_V6_DST: u16 = 4;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;

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

/// The family of an address, as netfilter numbers it.
pub(super) fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { IPV4 } else { IPV6 }
}

/// What of a tuple is known: the whole of a flow's, or the part that a filter compares.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    pub(super) protocol: Option<Protocol>,
    pub(super) source: Option<IpAddr>,
    pub(super) destination: Option<IpAddr>,
    pub(super) source_port: Option<u16>,
    pub(super) destination_port: Option<u16>,
}

impl Parts {
    pub(super) fn of(protocol: Protocol, tuple: &Tuple) -> Self {
        Self {
            protocol: Some(protocol),
            source: Some(tuple.source.ip()),
            destination: Some(tuple.destination.ip()),
            source_port: Some(tuple.source.port()),
            destination_port: Some(tuple.destination.port()),
        }
    }

    /// Writes the tuple as the attribute `kind`.
    pub(super) fn write(&self, kind: u16, writer: &mut Writer) {
        writer.nested(kind, |tuple| {
            if self.source.is_some() || self.destination.is_some() {
                tuple.nested(CTA_TUPLE_IP, |ip| self.write_addresses(ip));
            }
            tuple.nested(CTA_TUPLE_PROTO, |proto| self.write_ports(proto));
        });
    }

    fn write_addresses(&self, writer: &mut Writer) {
        let sides =
            [(self.source, CTA_IP_V4_SRC, CTA_IP_V6_SRC), (self.destination, CTA_IP_V4_DST, CTA_IP_V6_DST)];
        for (address, v4, v6) in sides {
            match address {
                Some(IpAddr::V4(address)) => writer.attribute(v4, &address.octets()),
                Some(IpAddr::V6(address)) => writer.attribute(v6, &address.octets()),
                None => {}
            }
        }
    }

    fn write_ports(&self, writer: &mut Writer) {
        if let Some(protocol) = self.protocol {
            writer.u8(CTA_PROTO_NUM, protocol.number());
        }
        for (kind, port) in
            [(CTA_PROTO_SRC_PORT, self.source_port), (CTA_PROTO_DST_PORT, self.destination_port)]
        {
            if let Some(port) = port {
                writer.attribute(kind, &port.to_be_bytes());
            }
        }
    }
}

/// `None` for protocols without ports.
pub(super) fn parse(tuple: &Attributes<'_>) -> Option<(Protocol, Tuple)> {
    let (ip, proto) = (tuple.nested(CTA_TUPLE_IP), tuple.nested(CTA_TUPLE_PROTO));
    let protocol = match proto.u8(CTA_PROTO_NUM)? {
        6 => Protocol::Tcp,
        17 => Protocol::Udp,
        132 => Protocol::Sctp,
        _ => return None,
    };
    let source = (address(&ip, CTA_IP_V4_SRC, CTA_IP_V6_SRC)?, proto.u16(CTA_PROTO_SRC_PORT)?);
    let destination = (address(&ip, CTA_IP_V4_DST, CTA_IP_V6_DST)?, proto.u16(CTA_PROTO_DST_PORT)?);
    Some((protocol, Tuple { source: source.into(), destination: destination.into() }))
}

fn address(ip: &Attributes<'_>, v4: u16, v6: u16) -> Option<IpAddr> {
    if let Some(bytes) = ip.get(v4) {
        return Some(Ipv4Addr::from(*<&[u8; 4]>::try_from(bytes).ok()?).into());
    }
    Some(Ipv6Addr::from(*<&[u8; 16]>::try_from(ip.get(v6)?).ok()?).into())
}
