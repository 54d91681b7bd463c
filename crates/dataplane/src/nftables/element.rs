//! Elements of our sets: keys and values as the rules' registers hold them, to bytes and back.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use services::Protocol;

use super::counter::{Count, read_counter, write_counter};
use super::expression::Verdict;
use super::family::{Family, put_address};
use super::message::{DELSETELEM, Layout, NEWSETELEM, clip, comment, read_comment};
use super::state::Client;
use crate::forwarding_table::FrontendKey;
use crate::netlink::{Attributes, Batch, CREATE, Writer};

pub(super) const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
pub(super) const NFTA_SET_ELEM_LIST_SET: u16 = 2;
pub(super) const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
pub(super) const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_FLAGS: u16 = 3;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_USERDATA: u16 = 6;
/// The element's instance of its set's expression.
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFT_SET_ELEM_INTERVAL_END: u32 = 1;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;

/// Elements of one message: even the longest (a service with a full comment) stay below the 64 KiB of an attribute.
pub(super) const PER_MESSAGE: usize = 256;

/// One element to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element {
    key: Vec<u8>,
    /// The last key of a range, in a set of several parts.
    last: Option<Vec<u8>>,
    value: Value,
    comment: Option<Box<str>>,
    interval_end: bool,
    /// Timeout, and what is left of it, in milliseconds.
    timeout: Option<(u64, u64)>,
    /// What its counter goes on from.
    count: Option<Count>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Nothing,
    Bytes(Vec<u8>),
    Verdict(Verdict),
}

impl Element {
    /// An element of a set, or a map's element by its key alone, to be deleted.
    pub(super) fn key(key: Vec<u8>) -> Self {
        Self {
            key,
            last: None,
            value: Value::Nothing,
            comment: None,
            interval_end: false,
            timeout: None,
            count: None,
        }
    }

    /// A range of keys in a set of several parts.
    pub(super) fn range(first: Vec<u8>, last: Vec<u8>) -> Self {
        Self { last: Some(last), ..Self::key(first) }
    }

    /// The first address behind an interval.
    pub(super) fn interval_end(key: Vec<u8>) -> Self {
        Self { interval_end: true, ..Self::key(key) }
    }

    /// A client of a set of clients.
    pub(super) fn client(client: &Client) -> Self {
        let timeout = Some((client.timeout, client.left));
        Self { timeout, ..Self::key(address_key(client.address)) }
    }

    pub(super) fn verdict(key: Vec<u8>, verdict: Verdict) -> Self {
        Self { value: Value::Verdict(verdict), ..Self::key(key) }
    }

    /// The same with a comment beside it.
    pub(super) fn commented(self, comment: &str) -> Self {
        Self { comment: Some(clip(comment).into()), ..self }
    }

    /// The same with a counter that goes on from what an element before it has counted.
    pub(super) fn counting_from(self, count: Option<Count>) -> Self {
        Self { count, ..self }
    }

    pub(super) fn data(key: Vec<u8>, value: Vec<u8>) -> Self {
        Self { value: Value::Bytes(value), ..Self::key(key) }
    }

    fn write(&self, list: &mut Writer) {
        list.nested(NFTA_LIST_ELEM, |element| {
            if self.interval_end {
                element.u32(NFTA_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
            }
            element.nested(NFTA_SET_ELEM_KEY, |key| key.attribute(NFTA_DATA_VALUE, &self.key));
            if let Some(last) = &self.last {
                element.nested(NFTA_SET_ELEM_KEY_END, |key| key.attribute(NFTA_DATA_VALUE, last));
            }
            match &self.value {
                Value::Nothing => {}
                Value::Bytes(bytes) => {
                    element.nested(NFTA_SET_ELEM_DATA, |data| data.attribute(NFTA_DATA_VALUE, bytes));
                }
                Value::Verdict(verdict) => element.nested(NFTA_SET_ELEM_DATA, |data| verdict.write(data)),
            }
            if let Some((timeout, left)) = self.timeout {
                element.attribute(NFTA_SET_ELEM_TIMEOUT, &timeout.to_be_bytes());
                element.attribute(NFTA_SET_ELEM_EXPIRATION, &left.to_be_bytes());
            }
            if let Some(count) = self.count {
                element.nested(NFTA_SET_ELEM_EXPR, |expression| write_counter(expression, Some(count)));
            }
            if let Some(text) = &self.comment {
                element.attribute(NFTA_SET_ELEM_USERDATA, &comment(text));
            }
        });
    }
}

impl Layout {
    /// Adds elements, at most [`PER_MESSAGE`].
    pub(super) fn add_elements(&self, batch: &mut Batch, set: &str, elements: &[Element]) {
        self.elements(batch, NEWSETELEM, CREATE, set, elements);
    }

    /// Deletes all elements of a set.
    pub(super) fn flush_set(&self, batch: &mut Batch, set: &str) {
        batch.push(self.header(DELSETELEM, 0), format!("all elements of {set}"), |writer| {
            writer.text(NFTA_SET_ELEM_LIST_TABLE, self.table);
            writer.text(NFTA_SET_ELEM_LIST_SET, set);
        });
    }

    /// Deletes elements, at most [`PER_MESSAGE`].
    pub(super) fn delete_elements(&self, batch: &mut Batch, set: &str, elements: &[Element]) {
        self.elements(batch, DELSETELEM, 0, set, elements);
    }

    /// What names these elements in a message about them alone.
    pub(super) fn name_elements(&self, writer: &mut Writer, set: &str, elements: &[Element]) {
        writer.text(NFTA_SET_ELEM_LIST_TABLE, self.table);
        writer.text(NFTA_SET_ELEM_LIST_SET, set);
        writer.nested(NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
            elements.iter().for_each(|element| element.write(list));
        });
    }

    fn elements(&self, batch: &mut Batch, message: u16, flags: u16, set: &str, elements: &[Element]) {
        if elements.is_empty() {
            return;
        }
        let label = format!("{} elements of {set}", elements.len());
        batch.push(self.header(message, flags), label, |writer| self.name_elements(writer, set, elements));
    }
}

/// `protocol . address . port`, each part padded to whole registers.
pub(super) fn service_key(key: &FrontendKey) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(28);
    bytes.extend_from_slice(&[key.protocol.number(), 0, 0, 0]);
    put_address(&mut bytes, key.address);
    put_port(&mut bytes, key.port);
    bytes
}

/// `protocol . address . port . number`; the number in host order, as `numgen` makes it.
pub(super) fn endpoint_key(key: &FrontendKey, number: u32) -> Vec<u8> {
    let mut bytes = service_key(key);
    bytes.extend_from_slice(&number.to_ne_bytes());
    bytes
}

/// `address . port`.
pub(super) fn endpoint_value(endpoint: SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    put_address(&mut bytes, endpoint.ip());
    put_port(&mut bytes, endpoint.port());
    bytes
}

/// `protocol . address . port . source`, from the first source to the last.
pub(super) fn source_range(key: &FrontendKey, (first, last): (IpAddr, IpAddr)) -> Element {
    let bound = |address| {
        let mut bytes = service_key(key);
        put_address(&mut bytes, address);
        bytes
    };
    Element::range(bound(first), bound(last))
}

/// An address alone.
pub(super) fn address_key(address: IpAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16);
    put_address(&mut bytes, address);
    bytes
}

/// `address . address`: a flow of an endpoint to itself.
pub(super) fn hairpin_key(address: IpAddr) -> Vec<u8> {
    let mut bytes = address_key(address);
    put_address(&mut bytes, address);
    bytes
}

/// A subnet as its first address and the first behind it; one that ends with the address space has no end.
pub(super) fn interval(cidr: &IpNet) -> Vec<Element> {
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
    elements
}

fn put_port(bytes: &mut Vec<u8>, port: u16) {
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.extend_from_slice(&[0, 0]);
}

/// An element as read back.
#[derive(Debug)]
pub(super) struct Found<'a> {
    pub(super) key: &'a [u8],
    pub(super) last: Option<&'a [u8]>,
    pub(super) value: &'a [u8],
    pub(super) verdict: Option<Verdict>,
    pub(super) comment: Option<&'a str>,
    pub(super) interval_end: bool,
    pub(super) count: Option<Count>,
    timeout: Option<u64>,
    left: Option<u64>,
}

impl<'a> Found<'a> {
    pub(super) fn parse(element: &'a [u8]) -> Option<Self> {
        let element = Attributes::new(element);
        let data = element.nested(NFTA_SET_ELEM_DATA);
        let flags = element.u32(NFTA_SET_ELEM_FLAGS).unwrap_or(0);
        Some(Self {
            key: element.nested(NFTA_SET_ELEM_KEY).get(NFTA_DATA_VALUE)?,
            last: element.nested(NFTA_SET_ELEM_KEY_END).get(NFTA_DATA_VALUE),
            value: data.get(NFTA_DATA_VALUE).unwrap_or_default(),
            verdict: parse_verdict(&data.nested(NFTA_DATA_VERDICT)),
            comment: element.get(NFTA_SET_ELEM_USERDATA).and_then(read_comment),
            interval_end: flags & NFT_SET_ELEM_INTERVAL_END != 0,
            count: read_counter(&element.nested(NFTA_SET_ELEM_EXPR)),
            timeout: element.u64(NFTA_SET_ELEM_TIMEOUT),
            left: element.u64(NFTA_SET_ELEM_EXPIRATION),
        })
    }

    pub(super) fn service(&self, family: &Family) -> Option<FrontendKey> {
        let protocol = match self.key.first()? {
            6 => Protocol::Tcp,
            17 => Protocol::Udp,
            132 => Protocol::Sctp,
            _ => return None,
        };
        let (address, port) = socket_address(family, self.key.get(4..)?)?;
        Some(FrontendKey::new(protocol, address, port))
    }

    /// The client that an element of a set of clients is; one without a timeout is somebody's edit.
    pub(super) fn client(&self, family: &Family) -> Option<Client> {
        let left = self.left.filter(|left| *left > 0)?;
        Some(Client { address: family.address(self.key)?, timeout: self.timeout?, left })
    }

    pub(super) fn number(&self, family: &Family) -> Option<u32> {
        let bytes = self.key.get(8 + family.address_length as usize..)?;
        Some(u32::from_ne_bytes(*bytes.first_chunk()?))
    }

    /// First and last source of a range behind a service's key.
    pub(super) fn sources(&self, family: &Family) -> Option<(IpAddr, IpAddr)> {
        let behind = 8 + family.address_length as usize;
        let address = |key: &[u8]| family.address(key.get(behind..)?);
        Some((address(self.key)?, address(self.last.unwrap_or(self.key))?))
    }

    pub(super) fn endpoint(&self, family: &Family) -> Option<SocketAddr> {
        socket_address(family, self.value).map(|(address, port)| SocketAddr::new(address, port))
    }
}

fn socket_address(family: &Family, bytes: &[u8]) -> Option<(IpAddr, u16)> {
    let port = bytes.get(family.address_length as usize..)?.first_chunk()?;
    Some((family.address(bytes)?, u16::from_be_bytes(*port)))
}

fn parse_verdict(verdict: &Attributes<'_>) -> Option<Verdict> {
    use super::expression::{VERDICT_DROP, VERDICT_GOTO};
    match verdict.u32(NFTA_VERDICT_CODE)? {
        VERDICT_DROP => Some(Verdict::Drop),
        VERDICT_GOTO => Some(Verdict::Goto(verdict.text(NFTA_VERDICT_CHAIN)?.to_owned())),
        _ => None,
    }
}
