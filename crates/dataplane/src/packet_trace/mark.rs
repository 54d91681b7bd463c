//! The table that marks one flow's packets, before any other chain sees them.

use std::net::{IpAddr, SocketAddr};

use super::Flow;
use super::event::SUBSYSTEM;
use crate::NetlinkError;
use crate::netlink::{APPEND, Batch, CREATE, Header, Socket, Writer};

/// The table's name.
pub(super) const TABLE: &str = "sluice-trace";
const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
/// `NFT_TABLE_F_OWNER`: the table goes with the socket that made it (kernel 5.12).
const OWNER: u32 = 0x2;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// Before connection tracking (-200) and everything that is called "raw" (-300), also before defragmentation (-400).
const PRIORITY: i32 = -450;
/// `NF_INET_PRE_ROUTING` for what arrives, `NF_INET_LOCAL_OUT` for what a process here sends.
const HOOKS: [(&str, u32); 2] = [("arriving", 0), ("leaving", 3)];
/// The first register, in the old numbering that every kernel knows.
const REGISTER: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const META_NFTRACE: u32 = 12;
const META_L4PROTO: u32 = 16;

/// The table, while this lives.
#[derive(Debug)]
pub(super) struct Mark {
    socket: Socket,
    family: u8,
}

impl Mark {
    /// Makes the table. Where tables cannot be owned, one that a killed program left is replaced.
    pub(super) fn place(flow: Flow) -> Result<Self, NetlinkError> {
        let family = if flow.destination.is_ipv4() { NFPROTO_IPV4 } else { NFPROTO_IPV6 };
        let mut mark = Self { socket: Socket::open()?, family };
        match mark.make(flow, OWNER) {
            Err(error) if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => {
                // There may be none, which is as well.
                let _ = mark.remove();
                mark.make(flow, 0)?;
            }
            result => result?,
        }
        Ok(mark)
    }

    fn make(&mut self, flow: Flow, flags: u32) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(SUBSYSTEM);
        batch.push(self.header(NEWTABLE, CREATE), "table sluice-trace", |table| {
            table.text(1, TABLE);
            table.u32(2, flags);
        });
        for (chain, hook) in HOOKS {
            batch.push(self.header(NEWCHAIN, CREATE), "its chain", |writer| write_chain(writer, chain, hook));
            batch.push(self.header(NEWRULE, CREATE | APPEND), "its rule", |rule| {
                rule.text(1, TABLE);
                rule.text(2, chain);
                rule.nested(4, |list| write_rule(list, flow));
            });
        }
        self.socket.transact(&mut batch)
    }

    fn remove(&mut self) -> Result<(), NetlinkError> {
        let mut batch = Batch::new(SUBSYSTEM);
        batch.push(self.header(DELTABLE, 0), "table sluice-trace", |table| table.text(1, TABLE));
        self.socket.transact(&mut batch)
    }

    fn header(&self, message: u16, flags: u16) -> Header {
        Header { kind: SUBSYSTEM << 8 | message, flags, family: self.family }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the table sluice-trace stays");
        }
    }
}

/// `NFTA_CHAIN_TABLE`, `_NAME`, `_HOOK`, `_TYPE`.
fn write_chain(writer: &mut Writer, name: &str, hook: u32) {
    writer.text(1, TABLE);
    writer.text(3, name);
    writer.nested(4, |nested| {
        nested.u32(1, hook);
        nested.attribute(2, &PRIORITY.to_be_bytes());
    });
    writer.text(7, "filter");
}

/// Protocol, addresses and ports of the flow, then `meta nftrace set 1`.
fn write_rule(list: &mut Writer, flow: Flow) {
    // NFTA_META_DREG, _KEY
    expression(list, "meta", |data| numbers(data, &[(1, REGISTER), (2, META_L4PROTO)]));
    equal(list, &[flow.protocol.number()]);
    let (source, destination) = if flow.destination.is_ipv4() { (12, 16) } else { (8, 24) };
    for (offset, socket) in [(source, flow.source), (destination, flow.destination)] {
        let address = address_bytes(socket);
        payload(list, NETWORK_HEADER, offset, address.len());
        equal(list, &address);
    }
    for (offset, port) in [(0, flow.source.port()), (2, flow.destination.port())] {
        payload(list, TRANSPORT_HEADER, offset, 2);
        equal(list, &port.to_be_bytes());
    }
    // NFTA_IMMEDIATE_DREG, _DATA with NFTA_DATA_VALUE
    expression(list, "immediate", |data| {
        data.u32(1, REGISTER);
        data.nested(2, |value| value.attribute(1, &[1]));
    });
    // NFTA_META_KEY, _SREG
    expression(list, "meta", |data| numbers(data, &[(2, META_NFTRACE), (3, REGISTER)]));
}

fn address_bytes(socket: SocketAddr) -> Vec<u8> {
    match socket.ip() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// `NFTA_PAYLOAD_DREG`, `_BASE`, `_OFFSET`, `_LEN`.
fn payload(list: &mut Writer, base: u32, offset: u32, length: usize) {
    // An address has at most 16 bytes.
    let length = length as u32;
    expression(list, "payload", |data| numbers(data, &[(1, REGISTER), (2, base), (3, offset), (4, length)]));
}

/// `NFTA_CMP_SREG`, `_OP` (equal), `_DATA` with `NFTA_DATA_VALUE`.
fn equal(list: &mut Writer, value: &[u8]) {
    expression(list, "cmp", |data| {
        numbers(data, &[(1, REGISTER), (2, 0)]);
        data.nested(3, |nested| nested.attribute(1, value));
    });
}

/// `NFTA_LIST_ELEM` with `NFTA_EXPR_NAME` and `_DATA`.
fn expression(list: &mut Writer, name: &str, write: impl FnOnce(&mut Writer)) {
    list.nested(1, |element| {
        element.text(1, name);
        element.nested(2, write);
    });
}

fn numbers(data: &mut Writer, attributes: &[(u16, u32)]) {
    attributes.iter().for_each(|(kind, value)| data.u32(*kind, *value));
}
