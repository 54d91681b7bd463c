//! Flows that no packet made, for tests and measurements: entries put into the kernel's table, and a table of any size
//! that exists only as its dump. Nothing in the product uses either.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use services::Protocol;

use super::flow::{CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, Flow};
use super::tuple::{self, Parts, Tuple};
use super::{Conntrack, NEW, SUBSYSTEM, header};
use crate::NetlinkError;
use crate::netlink::{CREATE, Wire, Writer, request};

const CTA_STATUS: u16 = 3;
const CTA_TIMEOUT: u16 = 7;
/// `IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED`.
const STATUS: u32 = 1 << 1 | 1 << 2 | 1 << 3;
/// As long as the tests that make them.
const TIMEOUT_SECONDS: u32 = 600;
/// Entries made by one system call.
const BATCH: usize = 64;
/// Bytes of a dump's datagram, as the kernel makes them.
const DATAGRAM: usize = 32 * 1024;
const NLM_F_MULTI: u16 = 2;
const NLMSG_DONE: u16 = 3;

/// The flow that a client's packet to a frontend makes when it is translated to `endpoint`.
#[must_use]
pub fn translated(
    protocol: Protocol,
    client: SocketAddr,
    frontend: SocketAddr,
    endpoint: SocketAddr,
) -> Flow {
    let original = Tuple { source: client, destination: frontend };
    let reply = Tuple { source: endpoint, destination: client };
    Flow { protocol, original, reply, id: None, zone: None }
}

impl Conntrack {
    /// Puts flows into the kernel's table.
    ///
    /// # Errors
    /// When the kernel refuses one.
    pub fn insert(&mut self, flows: impl IntoIterator<Item = Flow>) -> Result<usize, NetlinkError> {
        let mut flows = flows.into_iter().peekable();
        let mut count = 0;
        while flows.peek().is_some() {
            let mut requests: Vec<Vec<u8>> = flows.by_ref().take(BATCH).map(|flow| creation(&flow)).collect();
            let outcomes = self.calls.call("a new flow", &mut requests)?;
            if let Some(code) = outcomes.iter().find(|code| **code != 0) {
                return Err(NetlinkError::refused("a new flow", *code));
            }
            count += outcomes.len();
        }
        Ok(count)
    }
}

fn creation(flow: &Flow) -> Vec<u8> {
    request(header(NEW, CREATE, flow.family()), |writer| {
        write_tuples(flow, writer);
        writer.u32(CTA_TIMEOUT, TIMEOUT_SECONDS);
        writer.u32(CTA_STATUS, STATUS);
    })
}

fn write_tuples(flow: &Flow, writer: &mut Writer) {
    for (kind, tuple) in [(CTA_TUPLE_ORIG, &flow.original), (CTA_TUPLE_REPLY, &flow.reply)] {
        Parts::of(flow.protocol, tuple).write(kind, writer);
    }
}

/// A table that exists only as its dump: every request for one is answered with all of its flows, as by a kernel that
/// knows no filters. Deletions are all confirmed.
pub struct Generated {
    count: u64,
    flow: Box<dyn FnMut(u64) -> Flow + Send>,
    /// Sequence number and next flow of the dump that is being read.
    dump: Option<(u32, u64)>,
    /// Sequence numbers of deletions that were not confirmed yet.
    deletions: Vec<u32>,
}

impl fmt::Debug for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Generated").field("count", &self.count).finish_non_exhaustive()
    }
}

impl Generated {
    /// A table of `count` flows: those that `flow` makes of the numbers below it.
    pub fn new(count: u64, flow: impl FnMut(u64) -> Flow + Send + 'static) -> Self {
        Self { count, flow: Box::new(flow), dump: None, deletions: Vec::new() }
    }

    /// As many flows as a datagram holds, or the end of the dump.
    fn next_flows(&mut self, sequence: u32, mut number: u64) -> Vec<u8> {
        let mut datagram = Vec::with_capacity(DATAGRAM);
        while number < self.count && datagram.len() + 512 < DATAGRAM {
            let flow = (self.flow)(number);
            let header = header(NEW, NLM_F_MULTI, tuple::family(flow.original.source.ip()));
            datagram.extend_from_slice(&numbered(
                request(header, |writer| write_tuples(&flow, writer)),
                sequence,
            ));
            number += 1;
        }
        self.dump = Some((sequence, number));
        if datagram.is_empty() {
            self.dump = None;
            datagram = reply(NLMSG_DONE, sequence);
        }
        datagram
    }
}

impl Wire for Generated {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        for message in crate::netlink::messages(datagram) {
            match message.kind {
                kind if kind == SUBSYSTEM << 8 | super::GET => self.dump = Some((message.sequence, 0)),
                _ => self.deletions.push(message.sequence),
            }
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], _wait: bool) -> io::Result<usize> {
        const NLMSG_ERROR: u16 = 2;
        let datagram = match self.dump {
            Some((sequence, number)) => self.next_flows(sequence, number),
            None => self.deletions.drain(..).flat_map(|sequence| reply(NLMSG_ERROR, sequence)).collect(),
        };
        if datagram.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..datagram.len()].copy_from_slice(&datagram);
        Ok(datagram.len())
    }
}

/// The end of a dump or an acknowledgement: a header and a zero.
fn reply(kind: u16, sequence: u32) -> Vec<u8> {
    let mut message = vec![0; 20];
    message[..4].copy_from_slice(&20u32.to_ne_bytes());
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    numbered(message, sequence)
}

fn numbered(mut message: Vec<u8>, sequence: u32) -> Vec<u8> {
    message[8..12].copy_from_slice(&sequence.to_ne_bytes());
    message
}
