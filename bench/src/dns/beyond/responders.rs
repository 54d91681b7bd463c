//! The programs: one that sends every query back, one that answers from a map of ready answers, one that hands queries
//! to an AF_XDP socket. Ethernet, IPv4 without options, unfragmented, UDP, to the one address and port that is asked;
//! everything else passes.
//!
//! The UDP checksum of what they send is left out, which IPv4 allows. IPv6 does not: there the sum would have to be kept.

use std::net::SocketAddrV4;
use std::os::fd::BorrowedFd;

use super::assembler::{Do, Instruction, Is, Program, Size};
use super::bpf::Hook;
use super::ready::{ANSWER_BYTES, KEY_BYTES};

/// What a program does with a packet for DNS.
#[derive(Clone, Copy)]
pub(super) enum Deed<'m> {
    /// Sends it back as it is.
    Echo,
    /// Answers it if the map knows the question.
    Answer(BorrowedFd<'m>),
    /// Hands it to the socket in this map.
    Divert(BorrowedFd<'m>),
    /// Nothing: what the driver wants to see on the other end before it carries an XDP program's packets there.
    Pass,
}

/// How a program at `tc`'s hook sends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Back {
    /// By XDP's own verdict (XDP_TX), out of the interface again. A veth's peer hears of it at once only when it has a program too
    /// (`veth_xdp_flush`, as of Linux 6.18).
    Transmit,
    /// Out of this interface, which is the same. For XDP the peer must receive by NAPI.
    Redirect(u32),
    /// `tc`: straight into the interface's peer, past its queue (Linux 5.10).
    RedirectPeer(u32),
}

/// The length of Ethernet, IPv4 and UDP headers, and of the query's identifier, which comes back as it is.
const AFTER_ID: i16 = 14 + 20 + 8 + 2;
/// What a DNS header needs beyond its identifier.
const HEADER_REST: i32 = 10;
/// Bytes of IPv4, UDP and the identifier; of UDP and the identifier.
const IP_BYTES: i32 = 30;
const UDP_BYTES: i32 = 10;

/// The context.
const CONTEXT: u8 = 6;
/// The stack's end.
const STACK: u8 = 10;

/// The instructions of a program for queries to this server.
pub(super) fn program(hook: Hook, server: SocketAddrV4, deed: Deed<'_>, back: Back) -> Vec<Instruction> {
    let mut program = Program::default();
    program.register(Do::Move, CONTEXT, 1);
    packet(&mut program, hook);
    only_queries_to(&mut program, server);
    match deed {
        Deed::Echo => turn_round(&mut program),
        Deed::Answer(map) => answer(&mut program, hook, map),
        Deed::Divert(map) => {
            divert(&mut program, map);
            return program.finish(pass(hook));
        }
        Deed::Pass => return Program::default().finish(pass(hook)),
    }
    send(&mut program, back);
    program.finish(pass(hook))
}

/// XDP_PASS, TCX_NEXT.
fn pass(hook: Hook) -> i32 {
    if hook == Hook::Xdp { 2 } else { -1 }
}

/// Register 2 becomes the packet, which has all headers.
fn packet(program: &mut Program, hook: Hook) {
    let [begin, end] = if hook == Hook::Xdp { [0, 4] } else { [76, 80] };
    program.load(Size::Word, 2, CONTEXT, begin);
    program.load(Size::Word, 3, CONTEXT, end);
    program.register(Do::Move, 4, 2);
    program.number(Do::Add, 4, i32::from(AFTER_ID) + HEADER_REST);
    program.doubt_register(4, Is::Above, 3);
}

fn only_queries_to(program: &mut Program, server: SocketAddrV4) {
    let mut field = |size, offset, value| {
        program.load(size, 4, 2, offset);
        program.doubt(4, Is::Other, value);
    };
    field(Size::Half, 12, i32::from(0x0800_u16.to_be()));
    field(Size::Byte, 14, 0x45);
    field(Size::Byte, 23, 17);
    field(Size::Half, 36, i32::from(server.port().to_be()));
    // More fragments, or not the first one.
    program.load(Size::Half, 4, 2, 20);
    program.number(Do::And, 4, i32::from(0x3fff_u16.to_be()));
    program.doubt(4, Is::Other, 0);
    // An immediate is a signed number; a register takes the address as it is loaded.
    for (half, offset) in server.ip().octets().chunks(2).zip([30, 32]) {
        program.load(Size::Half, 4, 2, offset);
        program.doubt(4, Is::Other, i32::from(u16::from_ne_bytes([half[0], half[1]])));
    }
}

/// Exchanges the addresses and ports of the packet in register 2. IPv4's checksum stays, UDP's is left out.
fn turn_round(program: &mut Program) {
    let ethernet = [(Size::Word, 0, 6), (Size::Half, 4, 10)];
    for (size, one, other) in ethernet.into_iter().chain([(Size::Word, 26, 30), (Size::Half, 34, 36)]) {
        program.load(size, 3, 2, one);
        program.load(size, 4, 2, other);
        program.store(size, 2, one, 4);
        program.store(size, 2, other, 3);
    }
    program.store_number(Size::Half, 2, 40, 0);
}

/// Answers from the map: register 7 has the query's length after the identifier, 8 the entry, 9 the answer's.
fn answer(program: &mut Program, hook: Hook, map: BorrowedFd<'_>) {
    program.load(Size::Half, 7, 2, 38);
    program.network_half(7);
    program.number(Do::Subtract, 7, UDP_BYTES);
    program.doubt(7, Is::Below, HEADER_REST);
    program.doubt(7, Is::Above, KEY_BYTES as i32 - 2);
    let key = -(KEY_BYTES as i16);
    for offset in (key..0).step_by(8) {
        program.store_number(Size::Double, STACK, offset, 0);
    }
    program.store(Size::Half, STACK, key, 7);
    copy(program, if hook == Hook::Xdp { 189 } else { 26 }, |program| {
        program.register(Do::Move, 3, STACK);
        program.number(Do::Add, 3, i32::from(key) + 2);
        program.register(Do::Move, 4, 7);
    });
    program.map(1, map);
    program.register(Do::Move, 2, STACK);
    program.number(Do::Add, 2, i32::from(key));
    program.call(1); // bpf_map_lookup_elem
    program.doubt(0, Is::Equal, 0);
    program.register(Do::Move, 8, 0);
    program.load(Size::Half, 9, 8, 0);
    program.doubt(9, Is::Below, HEADER_REST);
    program.doubt(9, Is::Above, ANSWER_BYTES as i32 - 2);
    resize(program, hook);
    packet(program, hook);
    lengths(program);
    turn_round(program);
    copy(program, if hook == Hook::Xdp { 190 } else { 9 }, |program| {
        program.register(Do::Move, 3, 8);
        program.number(Do::Add, 3, 2);
        program.register(Do::Move, 4, 9);
        program.number(Do::Move, 5, 0);
    });
}

/// Calls `bpf_*_load_bytes` or `bpf_*_store_bytes` for what is behind the identifier; `operands` sets registers 3 to 5.
fn copy(program: &mut Program, function: i32, operands: impl FnOnce(&mut Program)) {
    program.register(Do::Move, 1, CONTEXT);
    program.number(Do::Move, 2, i32::from(AFTER_ID));
    operands(program);
    program.call(function);
    program.doubt(0, Is::Other, 0);
}

/// Makes room for the answer.
fn resize(program: &mut Program, hook: Hook) {
    program.register(Do::Move, 1, CONTEXT);
    program.register(Do::Move, 2, 9);
    if hook == Hook::Xdp {
        program.register(Do::Subtract, 2, 7);
        program.call(65); // bpf_xdp_adjust_tail
    } else {
        program.number(Do::Add, 2, i32::from(AFTER_ID));
        program.number(Do::Move, 3, 0);
        program.call(38); // bpf_skb_change_tail
    }
    program.doubt(0, Is::Other, 0);
}

/// Writes the answer's lengths into the packet in register 2, and brings IPv4's checksum up to date (RFC 1624 §3).
fn lengths(program: &mut Program) {
    program.register(Do::Move, 5, 9);
    program.number(Do::Add, 5, UDP_BYTES);
    program.network_half(5);
    program.store(Size::Half, 2, 38, 5);
    program.register(Do::Move, 5, 9);
    program.number(Do::Add, 5, IP_BYTES);
    program.network_half(5);
    program.load(Size::Half, 3, 2, 16);
    program.store(Size::Half, 2, 16, 5);
    program.load(Size::Half, 4, 2, 24);
    program.number(Do::Xor, 3, 0xffff);
    program.number(Do::Xor, 4, 0xffff);
    program.register(Do::Add, 4, 3);
    program.register(Do::Add, 4, 5);
    for _ in 0..2 {
        program.register(Do::Move, 3, 4);
        program.number(Do::ShiftRight, 3, 16);
        program.number(Do::And, 4, 0xffff);
        program.register(Do::Add, 4, 3);
    }
    program.number(Do::Xor, 4, 0xffff);
    program.store(Size::Half, 2, 24, 4);
}

fn divert(program: &mut Program, map: BorrowedFd<'_>) {
    program.load(Size::Word, 2, CONTEXT, 16); // the queue
    program.map(1, map);
    program.number(Do::Move, 3, 2); // without a socket there: XDP_PASS
    program.call(51); // bpf_redirect_map
    program.end();
}

fn send(program: &mut Program, back: Back) {
    let (function, interface) = match back {
        Back::Transmit => {
            program.number(Do::Move, 0, 3); // XDP_TX
            return program.end();
        }
        Back::Redirect(interface) => (23, interface),
        Back::RedirectPeer(interface) => (155, interface),
    };
    program.number(Do::Move, 1, interface as i32);
    program.number(Do::Move, 2, 0);
    program.call(function);
    program.end();
}
