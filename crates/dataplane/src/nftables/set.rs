//! The sets and maps of our table: names, key and value layouts, and the `typeof` notes by which nft lists them.
//!
//! The kernel knows keys as bytes only. nft keeps in a set's user data which expressions the key is made of
//! (`libnftnl`'s udata); a key with a random number has no other readable form.

use super::family::Family;
use super::message::Layout;
use crate::netlink::Writer;

/// Verdict of each service port: `protocol . address . port`.
pub(crate) const SERVICES: &str = "services";
/// Endpoints: `protocol . address . port . number → address . port`.
pub(crate) const ENDPOINTS: &str = "endpoints";
/// Virtual IPs of live Services.
pub(crate) const SERVICE_IPS: &str = "service-ips";
/// Subnets that service addresses come from.
pub(crate) const SERVICE_CIDRS: &str = "service-cidrs";
/// Endpoints of this node, as `source . destination` of a flow to itself.
pub(crate) const HAIRPINS: &str = "hairpins";
/// Service ports that this node answers itself.
pub(crate) const ANSWERED: &str = "answered";

const NFTA_SET_TABLE: u16 = 1;
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
const NFTA_SET_KEY_TYPE: u16 = 4;
const NFTA_SET_KEY_LEN: u16 = 5;
const NFTA_SET_DATA_TYPE: u16 = 6;
const NFTA_SET_DATA_LEN: u16 = 7;
const NFTA_SET_ID: u16 = 10;
const NFTA_SET_USERDATA: u16 = 13;
const NFT_SET_INTERVAL: u32 = 0x4;
const NFT_SET_MAP: u32 = 0x8;
/// `NFT_DATA_VERDICT` as a value's type.
const VERDICT_TYPE: u32 = 0xffff_ff00;

/// nft's ids of data types; a concatenation is their ids, six bits each.
const TYPE_INTEGER: u32 = 4;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_PORT: u32 = 13;
/// nft's ids of expressions and of the parts they name.
const EXPRESSION_VERDICT: u32 = 1;
const EXPRESSION_PAYLOAD: u32 = 7;
const EXPRESSION_META: u32 = 9;
const EXPRESSION_CONCATENATION: u32 = 13;
const EXPRESSION_SYMBOLIC_RANDOM: u32 = 23;
const TRANSPORT_HEADER: u32 = 11;
const META_L4PROTO: u32 = 16;
const DESTINATION_PORT_FIELD: u32 = 2;

/// A part of a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Protocol,
    Source,
    Destination,
    Port,
    Number,
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
}

const SERVICE_KEY: &[Part] = &[Part::Protocol, Part::Destination, Part::Port];
const ENDPOINT_KEY: &[Part] = &[Part::Protocol, Part::Destination, Part::Port, Part::Number];

/// All sets of a table, in the order in which they are made.
pub(crate) const SETS: &[Set] = &[
    Set { name: SERVICES, key: SERVICE_KEY, value: Value::Verdict, interval: false },
    Set {
        name: ENDPOINTS,
        key: ENDPOINT_KEY,
        value: Value::Parts(&[Part::Destination, Part::Port]),
        interval: false,
    },
    Set { name: SERVICE_IPS, key: &[Part::Destination], value: Value::Nothing, interval: false },
    Set { name: SERVICE_CIDRS, key: &[Part::Destination], value: Value::Nothing, interval: true },
    Set { name: HAIRPINS, key: &[Part::Source, Part::Destination], value: Value::Nothing, interval: false },
    Set { name: ANSWERED, key: SERVICE_KEY, value: Value::Nothing, interval: false },
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
        writer.attribute(NFTA_SET_USERDATA, &self.notes(family));
    }

    fn flags(&self) -> u32 {
        let map = if self.value == Value::Nothing { 0 } else { NFT_SET_MAP };
        map | if self.interval { NFT_SET_INTERVAL } else { 0 }
    }

    /// libnftnl's set user data: byte orders (2 is big-endian, 0 unspecified), then what key and value are made of.
    fn notes(&self, family: &Family) -> Vec<u8> {
        let mut notes = Vec::new();
        note_number(&mut notes, 0, if self.key.len() == 1 { 2 } else { 0 });
        if self.value != Value::Nothing {
            note_number(&mut notes, 1, 0);
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

fn type_id(parts: &[Part], family: &Family) -> u32 {
    parts.iter().fold(0, |id, part| {
        id << 6
            | match part {
                Part::Protocol => TYPE_PROTOCOL,
                Part::Source | Part::Destination => family.address_type,
                Part::Port => TYPE_PORT,
                Part::Number => TYPE_INTEGER,
            }
    })
}

/// Bytes of a key: each part of several takes whole registers.
fn length(parts: &[Part], family: &Family) -> u32 {
    let bytes = |part: &Part| match part {
        Part::Source | Part::Destination => family.address_length,
        Part::Protocol | Part::Port | Part::Number => 4,
    };
    parts.iter().map(bytes).sum()
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
