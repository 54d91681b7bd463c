//! From query bytes to answer bytes: pure, without allocation, the hot path.
//!
//! What the zone cannot say by itself comes back as [`Outcome::Forward`] (the name is not ours) or [`Outcome::Chase`] (an
//! ExternalName points outside); [`crate::server`] then asks the [`crate::chain`], which joins the parts.
//!
#![doc = include_str!("../differences.md")]

mod apex;
mod locate;
mod respond;
mod srv;

use std::hint::black_box;

use locate::{Known, locate, reverse_name, service_labels};
use respond::Responder;

use crate::message::{Query, Refusal, Writer, rcode, refuse, rtype};
use crate::zone::{ReverseName, Suffix, Zone};

/// UDP payload without EDNS (RFC 1035 §2.3.4).
const PLAIN_UDP_BYTES: usize = 512;

/// What carries the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A datagram: 512 bytes or what the client's OPT record says.
    Udp,
    /// A stream: 65,535 bytes.
    Tcp,
}

/// What a query is answered under, besides the zone.
#[derive(Clone, Copy, Debug)]
pub struct Context {
    /// What carries the answer.
    pub transport: Transport,
    /// False until the model has everything: a missing name is then SERVFAIL, never NXDOMAIN.
    pub synced: bool,
    /// Where a list of endpoints starts; any number, different for each query.
    pub rotation: u32,
}

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Send this many bytes of the buffer.
    Reply(usize),
    /// Send nothing.
    Silent,
    /// Not ours: ask the chain.
    Forward,
    /// So many bytes of the buffer are an answer whose last CNAME points outside: ask the chain for its target.
    Chase(usize),
}

/// Answers one query from the zone into `buffer`.
pub fn answer(zone: &Zone, packet: &[u8], context: Context, buffer: &mut [u8]) -> Outcome {
    let mut question = Question::blank(zone);
    question.read(packet);
    let [known] = look_up(zone, std::array::from_ref(&question));
    question.answer(known, context, buffer)
}

/// A packet, read, with the zone of ours that its name is in: what can be known before anything is looked up.
pub(crate) struct Question<'z, 'q> {
    zone: &'z Zone,
    query: Query<'q>,
    refusal: Option<Refusal>,
    suffix: Option<&'z Suffix>,
    reverse: Option<ReverseName>,
}

/// What the zone has of a batch of questions.
pub(crate) fn look_up<'z, const N: usize>(
    zone: &'z Zone,
    questions: &[Question<'z, '_>; N],
) -> [Known<'z>; N] {
    let services: [_; N] = zone.look_up(std::array::from_fn(|index| questions[index].service()));
    let asks_ports = |index: &usize| questions[*index].query.qtype == rtype::SRV;
    let ports = (0..N).filter(asks_ports).filter_map(|index| services[index]);
    // So that the processor waits for all at once, as in the lookup itself.
    black_box(ports.fold(0, |touched, service| touched ^ service.touch_ports()));
    let addresses: [_; N] =
        std::array::from_fn(|index| questions[index].reverse.and_then(ReverseName::address));
    let uses = zone.reverse().look_up(&addresses);
    std::array::from_fn(|index| Known {
        service: services[index],
        reverse: questions[index].reverse,
        uses: uses[index],
    })
}

impl<'z, 'q> Question<'z, 'q> {
    /// Room for a question.
    pub(crate) fn blank(zone: &'z Zone) -> Self {
        Self { zone, query: Query::blank(), refusal: Some(Refusal::Silent), suffix: None, reverse: None }
    }

    /// Reads a packet.
    pub(crate) fn read(&mut self, packet: &'q [u8]) {
        self.refusal = self.query.read(packet).err();
        if self.refusal.is_none() {
            self.suffix = locate::suffix_of(self.zone.config(), &self.query.name);
            self.reverse = self.suffix.and_then(|suffix| reverse_name(suffix, &self.query.name));
        }
    }

    fn service(&self) -> Option<&[u8]> {
        self.suffix.and_then(|suffix| service_labels(suffix, &self.query.name))
    }

    /// Answers it into `buffer`. `known` is what [`look_up`] found for it.
    pub(crate) fn answer(&self, known: Known<'z>, context: Context, buffer: &mut [u8]) -> Outcome {
        let query = &self.query;
        match self.refusal {
            None => {}
            Some(Refusal::Silent) => return Outcome::Silent,
            Some(Refusal::Reply { rcode, question_end }) => {
                return refuse(query.bytes, rcode, question_end, buffer)
                    .map_or(Outcome::Silent, Outcome::Reply);
            }
        }
        if let Some(code) = refused(query) {
            return reply_code(query, context.transport, code, buffer);
        }
        let Some(suffix) = self.suffix else { return Outcome::Forward };
        let found = locate(self.zone, suffix, &query.name, known);
        if found.is_missing() && suffix.fallthrough && context.synced {
            return Outcome::Forward;
        }
        let size = match (context.transport, self.zone.config().udp_bytes_max) {
            (Transport::Udp, Some(most)) => size_max(query, Transport::Udp).min(usize::from(most)),
            (transport, _) => size_max(query, transport),
        };
        let Some(writer) = Writer::start(query, size, buffer) else { return Outcome::Silent };
        Responder::new(self.zone, query, context, writer).respond(suffix, found)
    }
}

/// The code for queries that are understood and not served, whatever their name.
fn refused(query: &Query<'_>) -> Option<u16> {
    match () {
        () if query.edns.is_some_and(|edns| edns.version != 0) => Some(rcode::BADVERS),
        () if query.qclass != crate::message::CLASS_IN => Some(rcode::REFUSED),
        () if matches!(query.qtype, rtype::AXFR | rtype::IXFR) => Some(rcode::REFUSED),
        () => None,
    }
}

/// An answer that is only a code, with the question repeated and nobody's authority: for failures of others too.
pub(crate) fn reply_code(query: &Query<'_>, transport: Transport, code: u16, buffer: &mut [u8]) -> Outcome {
    let Some(mut writer) = Writer::start(query, size_max(query, transport), buffer) else {
        return Outcome::Silent;
    };
    writer.renounce_authority();
    Outcome::Reply(writer.finish(code))
}

/// Bytes that the client can take.
pub(crate) fn size_max(query: &Query<'_>, transport: Transport) -> usize {
    match (transport, query.edns) {
        (Transport::Tcp, _) => usize::from(u16::MAX),
        (Transport::Udp, Some(edns)) => usize::from(edns.udp_size),
        (Transport::Udp, None) => PLAIN_UDP_BYTES,
    }
}
