//! What rules load into registers before they look it up.

use crate::nftables::expression::{Base, Expression, Register};
use crate::nftables::family::{Family, PROTOCOL};

/// `protocol . destination . destination port`: a service's key.
pub(super) fn destination_port(family: &Family) -> Vec<Expression> {
    vec![
        Expression::TransportProtocol(PROTOCOL),
        destination(family, Family::address_register()),
        port(family, 2),
    ]
}

/// `source . source port`: a client's end.
pub(super) fn client(family: &Family) -> Vec<Expression> {
    let port = PROTOCOL.after(family.address_length);
    vec![
        source(family, PROTOCOL),
        Expression::Payload { into: port, base: Base::Transport, offset: 0, length: 2 },
    ]
}

/// `protocol . source . source port`.
pub(super) fn source_port(family: &Family) -> Vec<Expression> {
    vec![Expression::TransportProtocol(PROTOCOL), source(family, Family::address_register()), port(family, 0)]
}

/// `protocol . destination . destination port` of the connection's first packet, before translation.
pub(super) fn original_port(family: &Family) -> Vec<Expression> {
    vec![
        Expression::TransportProtocol(PROTOCOL),
        Expression::OriginalDestination(Family::address_register(), family.ct_destination),
        Expression::OriginalPort(family.port_register()),
    ]
}

/// `source . destination`.
pub(super) fn both_addresses(family: &Family) -> Vec<Expression> {
    vec![source(family, PROTOCOL), destination(family, PROTOCOL.after(family.address_length))]
}

pub(super) fn destination(family: &Family, into: Register) -> Expression {
    Expression::Payload {
        into,
        base: Base::Network,
        offset: family.destination,
        length: family.address_length,
    }
}

pub(super) fn source(family: &Family, into: Register) -> Expression {
    Expression::Payload { into, base: Base::Network, offset: family.source, length: family.address_length }
}

fn port(family: &Family, offset: u32) -> Expression {
    Expression::Payload { into: family.port_register(), base: Base::Transport, offset, length: 2 }
}
