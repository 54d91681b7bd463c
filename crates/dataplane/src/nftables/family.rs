//! What differs between the IP families: numbers, header offsets, register widths, and how nft names the parts.

use std::net::{IpAddr, Ipv4Addr};

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
    /// ICMP's code for "port unreachable" (RFC 792: 3).
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

/// Register of the protocol in a service's key.
pub(crate) const PROTOCOL: Register = Register::first();

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

    /// True for addresses of this family.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == (self.address_length == 4)
    }

    /// The address in these bytes.
    pub(crate) fn address(&self, bytes: &[u8]) -> Option<IpAddr> {
        let bytes = bytes.get(..self.address_length as usize)?;
        Some(IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)))
    }
}

/// Appends an address' bytes.
pub(crate) fn put_address(bytes: &mut Vec<u8>, address: IpAddr) {
    match address {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
}
