//! The expressions that our rules are made of, and their netlink form (`linux/netfilter/nf_tables.h`).
//!
//! Each variant is one kernel expression; a rule is a list of them, run in order until one breaks or decides. Only
//! combinations that nft 1.0.6 lists are used in [`super::rules`].

use crate::netlink::Writer;

const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;
const NFTA_VERDICT_CHAIN: u16 = 2;
/// `NFT_GOTO`, -4.
pub(super) const VERDICT_GOTO: u32 = 0xffff_fffc;
pub(super) const VERDICT_DROP: u32 = 0;
const VERDICT_ACCEPT: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
/// `RTN_LOCAL`, as [`Expression::SourceKind`] loads it: an address of this host.
pub(super) const LOCAL_ADDRESS: u32 = 2;
/// Number of the first 4-byte register, `NFT_REG32_00`.
const FIRST_REGISTER: u32 = 8;

/// A 4-byte register; longer values use the following ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Register(u32);

impl Register {
    /// The first data register.
    pub(crate) const fn first() -> Self {
        Self(FIRST_REGISTER)
    }

    /// Its number in a message. Where one of the four 16-byte registers begins, both kernel and nft say that one's.
    fn number(self) -> u32 {
        let words = self.0 - FIRST_REGISTER;
        if words.is_multiple_of(4) { 1 + words / 4 } else { self.0 }
    }

    /// The register behind a value of `bytes` that starts here.
    pub(crate) const fn after(self, bytes: u32) -> Self {
        Self(self.0 + bytes.div_ceil(4))
    }
}

/// Where a payload offset counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Base {
    /// The IP header.
    Network = 1,
    /// The TCP, UDP or SCTP header.
    Transport = 2,
}

/// What ends a rule or is an element's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The chain's end, for good within this hook.
    Accept,
    /// Drops the packet.
    Drop,
    /// Goes on in another chain and does not come back.
    Goto(String),
}

/// How a packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A TCP reset, not rate-limited.
    TcpReset,
    /// ICMP port unreachable, rate-limited by the kernel.
    PortUnreachable(u8),
}

/// One expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expression {
    /// Loads header bytes.
    Payload {
        /// Destination.
        into: Register,
        /// Header.
        base: Base,
        /// Bytes into the header.
        offset: u32,
        /// Number of bytes.
        length: u32,
    },
    /// Loads a value that is known beforehand.
    Immediate(Register, Vec<u8>),
    /// Loads the transport protocol's number.
    TransportProtocol(Register),
    /// Loads the name of the interface that the packet came by; empty when it was made here.
    InputInterface(Register),
    /// Loads what kind of address the packet's source is to this host, see [`LOCAL_ADDRESS`].
    SourceKind(Register),
    /// The same of its destination.
    DestinationKind(Register),
    /// Loads the connection's state as a bit.
    ConnectionState(Register),
    /// Loads the connection's status bits.
    ConnectionStatus(Register),
    /// Loads the destination address of the connection's first packet.
    OriginalDestination(Register, u32),
    /// Loads the destination port of the connection's first packet.
    OriginalPort(Register),
    /// Loads 1 when the packet's socket is bound to any address, 0 when to one; breaks when there is none.
    SocketWildcard(Register),
    /// Loads 1 when the packet's socket is transparent; unlike [`Expression::SocketWildcard`] it also knows the sockets of
    /// handshakes and of connections that were closed.
    SocketTransparent(Register),
    /// Loads the packet's priority.
    Priority(Register),
    /// Gives the packet a priority.
    SetPriority(Register),
    /// Loads a random number below the modulus.
    Random(Register, u32),
    /// Keeps the bits of the mask, which is as long as the value.
    Mask(Register, Vec<u8>),
    /// Breaks unless the value is equal.
    Equal(Register, Vec<u8>),
    /// Breaks when the value is equal.
    NotEqual(Register, Vec<u8>),
    /// Breaks unless the key is in the set.
    InSet(Register, &'static str),
    /// Breaks when the key is in the set.
    NotInSet(Register, &'static str),
    /// Adds the key to a dynamic set, or starts its timeout (in seconds) anew; breaks when the set is full.
    Remember(Register, String, u64),
    /// Takes the key out of a dynamic set.
    Forget(Register, &'static str),
    /// Breaks unless the key is in a set that is not one of the fixed ones.
    InNamedSet(Register, String),
    /// Loads a map's value, breaks when the key is not in it.
    Map(Register, &'static str, Register),
    /// Takes the verdict that a map holds for the key.
    VerdictMap(Register, &'static str),
    /// Translates the destination to the address and port in these registers.
    Dnat(u32, Register, Register),
    /// Translates the source to the address of the interface it leaves by, with a random port.
    Masquerade,
    /// Refuses.
    Reject(Refusal),
    /// Keeps the packet out of connection tracking.
    Untracked,
    /// Decides.
    Verdict(Verdict),
}

impl Expression {
    pub(super) fn write(&self, list: &mut Writer) {
        list.nested(NFTA_LIST_ELEM, |element| {
            element.text(NFTA_EXPR_NAME, self.name());
            if !matches!(self, Self::Untracked) {
                element.nested(NFTA_EXPR_DATA, |data| self.write_data(data));
            }
        });
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Payload { .. } => "payload",
            Self::TransportProtocol(_)
            | Self::InputInterface(_)
            | Self::Priority(_)
            | Self::SetPriority(_) => "meta",
            Self::SourceKind(_) | Self::DestinationKind(_) => "fib",
            Self::ConnectionState(_)
            | Self::ConnectionStatus(_)
            | Self::OriginalDestination(..)
            | Self::OriginalPort(_) => "ct",
            Self::SocketWildcard(_) | Self::SocketTransparent(_) => "socket",
            Self::Random(..) => "numgen",
            Self::Mask(..) => "bitwise",
            Self::Equal(..) | Self::NotEqual(..) => "cmp",
            Self::InSet(..)
            | Self::NotInSet(..)
            | Self::InNamedSet(..)
            | Self::Map(..)
            | Self::VerdictMap(..) => "lookup",
            Self::Remember(..) | Self::Forget(..) => "dynset",
            Self::Dnat(..) => "nat",
            Self::Masquerade => "masq",
            Self::Reject(_) => "reject",
            Self::Untracked => "notrack",
            Self::Immediate(..) | Self::Verdict(_) => "immediate",
        }
    }

    fn write_data(&self, data: &mut Writer) {
        match self {
            // NFTA_PAYLOAD_DREG, _BASE, _OFFSET, _LEN
            Self::Payload { into, base, offset, length } => {
                numbers(data, &[(1, into.number()), (2, *base as u32), (3, *offset), (4, *length)]);
            }
            Self::Immediate(into, value) => {
                data.u32(1, into.number());
                data.nested(2, |nested| nested.attribute(NFTA_DATA_VALUE, value));
            }
            // NFTA_META_DREG, _KEY (NFT_META_L4PROTO, NFT_META_IIFNAME, NFT_META_PRIORITY), _SREG
            Self::TransportProtocol(into) => numbers(data, &[(1, into.number()), (2, 16)]),
            Self::InputInterface(into) => numbers(data, &[(1, into.number()), (2, 6)]),
            Self::Priority(into) => numbers(data, &[(1, into.number()), (2, 2)]),
            Self::SetPriority(from) => numbers(data, &[(2, 2), (3, from.number())]),
            // NFTA_FIB_DREG, _RESULT (NFT_FIB_RESULT_ADDRTYPE), _FLAGS (NFTA_FIB_F_SADDR, NFTA_FIB_F_DADDR)
            Self::SourceKind(into) => numbers(data, &[(1, into.number()), (2, 3), (3, 1)]),
            Self::DestinationKind(into) => numbers(data, &[(1, into.number()), (2, 3), (3, 2)]),
            // NFTA_CT_DREG, _KEY (NFT_CT_STATE, NFT_CT_STATUS)
            Self::ConnectionState(into) => numbers(data, &[(1, into.number()), (2, 0)]),
            Self::ConnectionStatus(into) => numbers(data, &[(1, into.number()), (2, 2)]),
            Self::OriginalDestination(into, key) => write_original(data, *into, *key),
            // NFT_CT_PROTO_DST
            Self::OriginalPort(into) => write_original(data, *into, 12),
            // NFTA_SOCKET_KEY (NFT_SOCKET_WILDCARD, NFT_SOCKET_TRANSPARENT), _DREG, _LEVEL
            Self::SocketWildcard(into) => numbers(data, &[(1, 2), (2, into.number()), (3, 0)]),
            Self::SocketTransparent(into) => numbers(data, &[(1, 0), (2, into.number()), (3, 0)]),
            // NFTA_NG_DREG, _MODULUS, _TYPE (NFT_NG_RANDOM), _OFFSET
            Self::Random(into, modulus) => {
                numbers(data, &[(1, into.number()), (2, *modulus), (3, 1), (4, 0)])
            }
            Self::Mask(register, mask) => write_mask(data, *register, mask),
            Self::Equal(register, value) => write_comparison(data, *register, 0, value),
            Self::NotEqual(register, value) => write_comparison(data, *register, 1, value),
            Self::InSet(..)
            | Self::NotInSet(..)
            | Self::InNamedSet(..)
            | Self::Map(..)
            | Self::VerdictMap(..) => self.write_lookup(data),
            Self::Remember(key, set, seconds) => write_update(data, *key, set, *seconds),
            // NFTA_DYNSET_SET_NAME, _OP (NFT_DYNSET_OP_DELETE), _SREG_KEY
            Self::Forget(key, set) => {
                data.text(1, set);
                numbers(data, &[(3, 2), (4, key.number())]);
            }
            // NFTA_NAT_TYPE (NFT_NAT_DNAT), _FAMILY, _REG_ADDR_MIN, _REG_PROTO_MIN
            Self::Dnat(family, address, port) => {
                numbers(data, &[(1, 1), (2, *family), (3, address.number()), (5, port.number())]);
            }
            // NFTA_MASQ_FLAGS: NF_NAT_RANGE_PROTO_RANDOM_FULLY
            Self::Masquerade => data.u32(1, 0x10),
            Self::Reject(refusal) => write_reject(data, *refusal),
            Self::Untracked => {}
            Self::Verdict(verdict) => {
                data.u32(1, VERDICT_REGISTER);
                data.nested(2, |value| verdict.write(value));
            }
        }
    }

    fn write_lookup(&self, data: &mut Writer) {
        // NFTA_LOOKUP_SET, _SREG, _DREG, _FLAGS (NFT_LOOKUP_F_INV)
        let (key, set, into) = match self {
            Self::InSet(key, set) | Self::NotInSet(key, set) => (key, *set, None),
            Self::InNamedSet(key, set) => (key, set.as_str(), None),
            Self::Map(key, set, into) => (key, *set, Some(into.number())),
            Self::VerdictMap(key, set) => (key, *set, Some(VERDICT_REGISTER)),
            _ => return,
        };
        data.text(1, set);
        data.u32(2, key.number());
        if let Some(into) = into {
            data.u32(3, into);
        }
        if matches!(self, Self::NotInSet(..)) {
            data.u32(5, 1);
        }
    }
}

impl Verdict {
    /// Writes the `NFTA_DATA_VERDICT` of a value.
    pub(super) fn write(&self, value: &mut Writer) {
        value.nested(NFTA_DATA_VERDICT, |verdict| match self {
            Self::Accept => verdict.u32(NFTA_VERDICT_CODE, VERDICT_ACCEPT),
            Self::Drop => verdict.u32(NFTA_VERDICT_CODE, VERDICT_DROP),
            Self::Goto(chain) => {
                verdict.u32(NFTA_VERDICT_CODE, VERDICT_GOTO);
                verdict.text(NFTA_VERDICT_CHAIN, chain);
            }
        });
    }
}

fn numbers(data: &mut Writer, attributes: &[(u16, u32)]) {
    for (kind, value) in attributes {
        data.u32(*kind, *value);
    }
}

/// `NFTA_BITWISE_SREG`, `_DREG`, `_LEN`, `_MASK`, `_XOR`.
fn write_mask(data: &mut Writer, register: Register, mask: &[u8]) {
    let length = u32::try_from(mask.len()).unwrap_or_default();
    numbers(data, &[(1, register.number()), (2, register.number()), (3, length)]);
    data.nested(4, |value| value.attribute(NFTA_DATA_VALUE, mask));
    data.nested(5, |value| value.attribute(NFTA_DATA_VALUE, &vec![0; mask.len()]));
}

/// `NFTA_CMP_SREG`, `_OP`, `_DATA`.
fn write_comparison(data: &mut Writer, register: Register, operator: u32, value: &[u8]) {
    numbers(data, &[(1, register.number()), (2, operator)]);
    data.nested(3, |nested| nested.attribute(NFTA_DATA_VALUE, value));
}

/// `NFTA_CT_DREG`, `_KEY`, `_DIRECTION` (`IP_CT_DIR_ORIGINAL`).
fn write_original(data: &mut Writer, into: Register, key: u32) {
    numbers(data, &[(1, into.number()), (2, key)]);
    data.u8(3, 0);
}

/// `NFTA_DYNSET_SET_NAME`, `_OP` (`NFT_DYNSET_OP_UPDATE`), `_SREG_KEY`, `_TIMEOUT` in milliseconds.
fn write_update(data: &mut Writer, key: Register, set: &str, seconds: u64) {
    data.text(1, set);
    numbers(data, &[(3, 1), (4, key.number())]);
    data.attribute(6, &seconds.saturating_mul(1000).to_be_bytes());
}

/// `NFTA_REJECT_TYPE`, `_ICMP_CODE`.
fn write_reject(data: &mut Writer, refusal: Refusal) {
    let (kind, code) = match refusal {
        Refusal::TcpReset => (1, 0),
        // NFT_REJECT_ICMP_UNREACH. The code for either family, ICMPX, is for tables of no family: here it drops.
        Refusal::PortUnreachable(code) => (0, code),
    };
    data.u32(1, kind);
    data.u8(2, code);
}
