//! What differs between the IP families: numbers, header offsets, register widths, and how nft names the parts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::expression::Register;

/// One IP family; each has a table of its own.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// `NFPROTO_*`.
    pub(crate) number: u8,
    /// Bytes of an address.
    pub(crate) address_length: u32,
    /// Offset of the source address in the network header.
    pub(crate) source: u32,
    /// Offset of the destination address in the network header.
    pub(crate) destination: u32,
    /// `ct original … daddr`.
    pub(crate) ct_destination: u32,
    /// Code of "port unreachable": 3 in ICMP (RFC 792), 4 in ICMPv6 (RFC 4443).
    pub(crate) port_unreachable: u8,
    /// nft's id of the address type.
    pub(crate) address_type: u32,
    /// nft's ids of the header and of its fields, for `typeof`.
    pub(crate) header: u32,
    /// nft's id of the source field.
    pub(crate) source_field: u32,
    /// nft's id of the destination field.
    pub(crate) destination_field: u32,
}

/// IPv4.
pub(crate) const IPV4: Family = Family {
    number: 2,
    address_length: 4,
    source: 12,
    destination: 16,
    ct_destination: 20,
    port_unreachable: 3,
    address_type: 7,
    header: 12,
    source_field: 11,
    destination_field: 12,
};

/// IPv6.
pub(crate) const IPV6: Family = Family {
    number: 10,
    address_length: 16,
    source: 8,
    destination: 24,
    ct_destination: 22,
    port_unreachable: 4,
    address_type: 8,
    header: 13,
    source_field: 8,
    destination_field: 9,
};

/// Register of the protocol in a service's key.
pub(crate) const PROTOCOL: Register = Register::first();

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_ipv4() { "IPv4" } else { "IPv6" })
    }
}

impl Family {
    /// Register of the address in a service's key.
    pub(crate) fn address_register() -> Register {
        PROTOCOL.after(4)
    }

    /// Register of the port in a service's key.
    pub(crate) fn port_register(&self) -> Register {
        Self::address_register().after(self.address_length)
    }

    /// Register of an endpoint's number, behind a service's key.
    pub(crate) fn index_register(&self) -> Register {
        self.port_register().after(4)
    }

    /// Register of the source address behind a service's key: the same place as an endpoint's number.
    pub(crate) fn source_register(&self) -> Register {
        self.index_register()
    }

    /// As nft calls it.
    pub(crate) fn name(&self) -> &'static str {
        if self.is_ipv4() { "ip" } else { "ip6" }
    }

    /// True for IPv4.
    pub(crate) fn is_ipv4(&self) -> bool {
        self.address_length == 4
    }

    /// True for addresses of this family.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4()
    }

    /// The address in these bytes.
    pub(crate) fn address(&self, bytes: &[u8]) -> Option<IpAddr> {
        if self.is_ipv4() {
            return Some(IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)));
        }
        Some(IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk::<16>()?)))
    }
}

/// Appends an address' bytes.
pub(crate) fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}
