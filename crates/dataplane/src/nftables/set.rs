//! The sets and maps of our table: names, key and value layouts, and the `typeof` notes by which nft lists them.
//!
//! The kernel knows keys as bytes only. nft keeps in a set's user data which expressions the key is made of
//! (`libnftnl`'s udata); a key with a random number has no other readable form.

use super::counter::write_counter;
use super::family::Family;
use super::message::{DELSET, Layout, NEWSET};
use crate::netlink::{Batch, CREATE, Writer};

/// The [`super::number`] of each service port's chain: `protocol . address . port`, and how many connections were made
/// to it.
pub(crate) const SERVICES: &str = "services";
/// Verdict for each of those numbers.
pub(crate) const CHAINS: &str = "chains";
/// Verdict of service ports that remember their clients.
pub(crate) const BY_CLIENT: &str = "by-client";
/// Verdict for connections from pods and from this node, and of all where [`OUTSIDE`] has none.
pub(crate) const INSIDE: &str = "inside";
/// Verdict for connections from elsewhere (external policy Local).
pub(crate) const OUTSIDE: &str = "outside";
/// Service ports that only some may use.
pub(crate) const GUARDED: &str = "guarded";
/// Who may: `protocol . address . port . source`.
pub(crate) const SOURCES: &str = "sources";
/// Service ports of which every connection is masqueraded.
pub(crate) const MASQUERADED: &str = "masqueraded";
/// Service ports of which this node's own connections are masqueraded, and those of endpoints to themselves.
pub(crate) const MASQUERADED_OWN: &str = "masqueraded-own";
/// Endpoints: `protocol . address . port . number → address . port`.
pub(crate) const ENDPOINTS: &str = "endpoints";
/// The same for connections from elsewhere.
pub(crate) const ENDPOINTS_OUTSIDE: &str = "endpoints-outside";
/// ClusterIPs of live Services.
pub(crate) const SERVICE_IPS: &str = "service-ips";
/// Subnets that service addresses come from.
pub(crate) const SERVICE_CIDRS: &str = "service-cidrs";
/// Frontends beside ClusterIPs that filter chains refuse, where nat chains cannot.
pub(crate) const REFUSED: &str = "refused";
/// Subnets by which pods are recognised.
pub(crate) const PODS: &str = "pods";
/// Endpoints of this node, as `source . destination` of a flow to itself.
pub(crate) const HAIRPINS: &str = "hairpins";
/// Service ports that this node answers itself.
pub(crate) const ANSWERED: &str = "answered";
/// Clients' ends of TCP connections that this node would answer itself, and that went to another node because nobody listened.
pub(crate) const ELSEWHERE: &str = "elsewhere";

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_DESC: u16 = 9;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
/// What each element that is added gets an instance of (kernel 5.7; those before ignore it, and nothing is counted).
const NFTA_SET_EXPR: u16 = 17;
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
const NFT_SET_CONCAT: u32 = 0x80;
const NFTA_SET_DESC_CONCAT: u16 = 2;
const NFTA_SET_DESC_SIZE: u16 = 1;
const NFT_SET_TIMEOUT: u32 = 0x10;
/// Rules add to it.
const NFT_SET_EVAL: u32 = 0x20;
/// What sets of clients are in messages about them; each has a name of its own.
const CLIENTS: &str = "clients";
/// Clients that one endpoint is remembered for at most: what the kernel takes when it is told nothing. Further ones are
/// balanced anew with each connection.
const MOST_CLIENTS: u32 = 65_535;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_FIELD_LEN: u16 = 1;
/// `NFT_DATA_VERDICT` as a value's type.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// nft's ids of data types; a concatenation is their ids, six bits each.
const TYPE_INTEGER: u32 = 4;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
const TYPE_PRIORITY: u32 = 23;
/// nft's ids of expressions and of the parts they name.
const EXPRESSION_VERDICT: u32 = 1;
const EXPRESSION_PAYLOAD: u32 = 7;
const EXPRESSION_META: u32 = 9;
const EXPRESSION_CONCATENATION: u32 = 13;
const EXPRESSION_SYMBOLIC_RANDOM: u32 = 23;
const TRANSPORT_HEADER: u32 = 11;
const META_L4PROTO: u32 = 16;
const SOURCE_PORT_FIELD: u32 = 1;
const META_PRIORITY: u32 = 2;
const DESTINATION_PORT_FIELD: u32 = 2;

/// A part of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Protocol,
    Source,
    Destination,
    Port,
    SourcePort,
    Number,
    Priority,
}

/// What a set maps its keys to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Nothing,
    Verdict,
    Parts(&'static [Part]),
}

/// One set or map.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Set {
    /// Its name.
    pub(crate) name: &'static str,
    key: &'static [Part],
    value: Value,
    interval: bool,
    /// Rules add to it, for a time.
    dynamic: bool,
    /// Each element counts the packets that a lookup finds it for.
    counts: bool,
}

const SERVICE_KEY: &[Part] = &[Part::Protocol, Part::Destination, Part::Port];
const ENDPOINT_KEY: &[Part] = &[Part::Protocol, Part::Destination, Part::Port, Part::Number];
const SOURCE_KEY: &[Part] = &[Part::Protocol, Part::Destination, Part::Port, Part::Source];
const PRIORITY: &[Part] = &[Part::Priority];
const ENDPOINT: Value = Value::Parts(&[Part::Destination, Part::Port]);

const fn set(name: &'static str, key: &'static [Part]) -> Set {
    Set { name, key, value: Value::Nothing, interval: false, dynamic: false, counts: false }
}

const fn intervals(name: &'static str, key: &'static [Part]) -> Set {
    Set { interval: true, ..set(name, key) }
}

const fn map(name: &'static str, key: &'static [Part], value: Value) -> Set {
    Set { value, ..set(name, key) }
}

const fn dynamic(name: &'static str, key: &'static [Part]) -> Set {
    Set { dynamic: true, ..set(name, key) }
}

const fn counting(map: Set) -> Set {
    Set { counts: true, ..map }
}

/// All sets of a table, in the order in which they are made.
pub(crate) const SETS: &[Set] = &[
    counting(map(SERVICES, SERVICE_KEY, Value::Parts(PRIORITY))),
    map(CHAINS, PRIORITY, Value::Verdict),
    map(BY_CLIENT, SERVICE_KEY, Value::Verdict),
    map(INSIDE, SERVICE_KEY, Value::Verdict),
    map(OUTSIDE, SERVICE_KEY, Value::Verdict),
    map(ENDPOINTS, ENDPOINT_KEY, ENDPOINT),
    map(ENDPOINTS_OUTSIDE, ENDPOINT_KEY, ENDPOINT),
    set(GUARDED, SERVICE_KEY),
    intervals(SOURCES, SOURCE_KEY),
    set(MASQUERADED, SERVICE_KEY),
    set(MASQUERADED_OWN, SERVICE_KEY),
    set(SERVICE_IPS, &[Part::Destination]),
    intervals(SERVICE_CIDRS, &[Part::Destination]),
    intervals(PODS, &[Part::Source]),
    set(HAIRPINS, &[Part::Source, Part::Destination]),
    set(ANSWERED, SERVICE_KEY),
    dynamic(ELSEWHERE, &[Part::Source, Part::SourcePort]),
    set(REFUSED, SERVICE_KEY),
];

impl Set {
    /// The type id that the kernel keeps for nft, by which a set of another layout is recognised.
    pub(crate) fn key_type(&self, family: &Family) -> u32 {
        type_id(self.key, family)
    }

    /// Writes the attributes of `NFT_MSG_NEWSET`; `id` is unique within the transaction.
    pub(super) fn write(&self, layout: &Layout, id: u32, writer: &mut Writer) {
        let family = layout.family;
        writer.text(NFTA_SET_TABLE, layout.table);
        writer.text(NFTA_SET_NAME, self.name);
        writer.u32(NFTA_SET_FLAGS, self.flags());
        writer.u32(NFTA_SET_KEY_TYPE, self.key_type(family));
        writer.u32(NFTA_SET_KEY_LEN, length(self.key, family));
        match self.value {
            Value::Nothing => {}
            Value::Verdict => {
                writer.u32(NFTA_SET_DATA_TYPE, VERDICT_TYPE);
                writer.u32(NFTA_SET_DATA_LEN, 0);
            }
            Value::Parts(parts) => {
                writer.u32(NFTA_SET_DATA_TYPE, type_id(parts, family));
                writer.u32(NFTA_SET_DATA_LEN, length(parts, family));
            }
        }
        writer.u32(NFTA_SET_ID, id);
        if self.is_ranges() {
            writer.nested(NFTA_SET_DESC, |description| self.write_fields(family, description));
        }
        if self.dynamic {
            write_most(writer);
        }
        if self.counts {
            writer.nested(NFTA_SET_EXPR, |expression| write_counter(expression, None));
        }
        writer.attribute(NFTA_SET_USERDATA, &self.notes(family));
    }

    fn flags(&self) -> u32 {
        let map = if self.value == Value::Nothing { 0 } else { NFT_SET_MAP };
        let concatenation = if self.is_ranges() { NFT_SET_CONCAT } else { 0 };
        let dynamic = if self.dynamic { NFT_SET_TIMEOUT | NFT_SET_EVAL } else { 0 };
        map | concatenation | dynamic | if self.interval { NFT_SET_INTERVAL } else { 0 }
    }

    /// Several parts of which one is an interval (kernel 5.6): elements have a last key as well.
    fn is_ranges(&self) -> bool {
        self.interval && self.key.len() > 1
    }

    fn write_fields(&self, family: &Family, description: &mut Writer) {
        description.nested(NFTA_SET_DESC_CONCAT, |fields| {
            for part in self.key {
                fields.nested(NFTA_LIST_ELEM, |field| field.u32(NFTA_SET_FIELD_LEN, part.width(family)));
            }
        });
    }

    /// libnftnl's set user data: byte orders (1 is the host's, 2 big-endian, 0 unspecified), then what key and value are made of.
    fn notes(&self, family: &Family) -> Vec<u8> {
        let mut notes = Vec::new();
        note_number(&mut notes, 0, byte_order(self.key));
        match self.value {
            Value::Nothing => {}
            Value::Verdict => note_number(&mut notes, 1, 0),
            Value::Parts(parts) => note_number(&mut notes, 1, byte_order(parts)),
        }
        note(&mut notes, 3, &typeof_parts(self.key, family));
        match self.value {
            Value::Nothing => {}
            Value::Verdict => note(&mut notes, 4, &expression(EXPRESSION_VERDICT, &[])),
            Value::Parts(parts) => note(&mut notes, 4, &typeof_parts(parts, family)),
        }
        if self.value != Value::Nothing {
            // Values are no intervals.
            note_number(&mut notes, 6, 0);
        }
        notes
    }
}

impl Layout {
    /// Makes a set of client addresses, each of which leaves after the timeout that it was added with.
    pub(super) fn new_clients(&self, batch: &mut Batch, name: &str, id: u32) {
        let clients = set(CLIENTS, &[Part::Source]);
        batch.push(self.header(NEWSET, CREATE), format!("set {name}"), |writer| {
            writer.text(NFTA_SET_TABLE, self.table);
            writer.text(NFTA_SET_NAME, name);
            writer.u32(NFTA_SET_FLAGS, NFT_SET_TIMEOUT | NFT_SET_EVAL);
            writer.u32(NFTA_SET_KEY_TYPE, clients.key_type(self.family));
            writer.u32(NFTA_SET_KEY_LEN, self.family.address_length);
            writer.u32(NFTA_SET_ID, id);
            write_most(writer);
            writer.attribute(NFTA_SET_USERDATA, &clients.notes(self.family));
        });
    }

    pub(super) fn delete_set(&self, batch: &mut Batch, name: &str) {
        batch.push(self.header(DELSET, 0), format!("set {name}"), |writer| {
            writer.text(NFTA_SET_TABLE, self.table);
            writer.text(NFTA_SET_NAME, name);
        });
    }
}

fn write_most(writer: &mut Writer) {
    writer.nested(NFTA_SET_DESC, |description| description.u32(NFTA_SET_DESC_SIZE, MOST_CLIENTS));
}

/// nft's number for the byte order of a key or value.
fn byte_order(parts: &[Part]) -> u32 {
    match parts {
        [Part::Priority] => 1,
        [_] => 2,
        _ => 0,
    }
}

fn type_id(parts: &[Part], family: &Family) -> u32 {
    parts.iter().fold(0, |id, part| {
        id << 6
            | match part {
                Part::Protocol => TYPE_PROTOCOL,
                Part::Source | Part::Destination => family.address_type,
                Part::Port | Part::SourcePort => TYPE_PORT,
                Part::Number => TYPE_INTEGER,
                Part::Priority => TYPE_PRIORITY,
            }
    })
}

impl Part {
    /// Bytes without padding.
    fn width(self, family: &Family) -> u32 {
        match self {
            Self::Source | Self::Destination => family.address_length,
            Self::Protocol => 1,
            Self::Port | Self::SourcePort => 2,
            Self::Number | Self::Priority => 4,
        }
    }
}

/// Bytes of a key: each part of several takes whole registers.
fn length(parts: &[Part], family: &Family) -> u32 {
    parts.iter().map(|part| part.width(family).next_multiple_of(4)).sum()
}

fn typeof_parts(parts: &[Part], family: &Family) -> Vec<u8> {
    let [part] = parts else {
        let mut listed = Vec::new();
        for (index, part) in (0u8..).zip(parts) {
            note(&mut listed, index, &typeof_part(*part, family));
        }
        return expression(EXPRESSION_CONCATENATION, &listed);
    };
    typeof_part(*part, family)
}

fn typeof_part(part: Part, family: &Family) -> Vec<u8> {
    let (kind, attributes): (u32, &[(u8, u32)]) = match part {
        Part::Protocol => (EXPRESSION_META, &[(0, META_L4PROTO)]),
        Part::Source => (EXPRESSION_PAYLOAD, &[(0, family.header), (1, family.source_field)]),
        Part::Destination => (EXPRESSION_PAYLOAD, &[(0, family.header), (1, family.destination_field)]),
        Part::Port => (EXPRESSION_PAYLOAD, &[(0, TRANSPORT_HEADER), (1, DESTINATION_PORT_FIELD)]),
        Part::SourcePort => (EXPRESSION_PAYLOAD, &[(0, TRANSPORT_HEADER), (1, SOURCE_PORT_FIELD)]),
        Part::Priority => (EXPRESSION_META, &[(0, META_PRIORITY)]),
        // type random, modulus 1, offset 0
        Part::Number => (EXPRESSION_SYMBOLIC_RANDOM, &[(0, 1), (1, 1), (2, 0)]),
    };
    let mut listed = Vec::new();
    for (index, value) in attributes {
        note_number(&mut listed, *index, *value);
    }
    expression(kind, &listed)
}

fn expression(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut notes = Vec::new();
    note_number(&mut notes, 0, kind);
    note(&mut notes, 1, data);
    notes
}

fn note_number(notes: &mut Vec<u8>, kind: u8, value: u32) {
    note(notes, kind, &value.to_ne_bytes());
}

fn note(notes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    notes.push(kind);
    notes.push(u8::try_from(value.len()).expect("notes of our sets are short"));
    notes.extend_from_slice(value);
}
