//! The first packets of flows, written and read as bytes: TCP's SYN, a UDP datagram, SCTP's INIT, each with a number by which
//! it is known again, and what refuses them. Beside them packets that come late, to a flow that nobody remembers, and a
//! datagram in two parts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use services::Protocol;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const ACK: u8 = 0x10;
const RST: u8 = 0x04;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
/// Bytes of a datagram's first part.
const PART: usize = 16;

/// What kind of packet it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// What begins a flow.
    #[default]
    Opening,
    /// TCP's RST, without a flow.
    Reset,
    /// TCP's FIN, without a flow.
    Finish,
    /// A UDP datagram over IPv4 in two fragments.
    Fragments,
}

/// A first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    pub(super) protocol: Protocol,
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// Not 0, which SCTP forbids as a tag.
    pub(super) number: u32,
    pub(super) form: Form,
}

/// What was seen somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    /// A first packet, perhaps translated.
    First(First),
    /// A refusal of the packet with this number.
    Refusal(u32),
}

impl First {
    /// With IP headers: one packet, or its fragments.
    pub(super) fn packets(&self) -> Vec<Vec<u8>> {
        let mut segment = self.segment();
        let (at, checksum) = match self.protocol {
            Protocol::Sctp => (8, crc32c(&segment).to_le_bytes().to_vec()),
            Protocol::Tcp => (16, self.checksum(&segment).to_be_bytes().to_vec()),
            Protocol::Udp => (6, self.checksum(&segment).to_be_bytes().to_vec()),
        };
        segment[at..at + checksum.len()].copy_from_slice(&checksum);
        if self.form == Form::Fragments {
            // More fragments follow the first; the second begins after so many units of eight bytes (RFC 791 §3.1).
            let (one, two) = segment.split_at(PART);
            let parts = [(one, 0x2000), (two, (PART / 8) as u16)];
            return parts
                .map(|(part, place)| [self.header(part.len(), place), part.to_vec()].concat())
                .into();
        }
        vec![[self.header(segment.len(), 0), segment].concat()]
    }

    /// The transport's part, its checksum still 0.
    fn segment(&self) -> Vec<u8> {
        let ports = [self.source.port().to_be_bytes(), self.destination.port().to_be_bytes()].concat();
        let number = self.number.to_be_bytes();
        match self.protocol {
            // Sequence number, acknowledgement, offset and flags, window, checksum, urgent pointer (RFC 9293 §3.1).
            Protocol::Tcp => {
                let (acknowledged, flags) = match self.form {
                    Form::Reset => ([0; 4], RST),
                    Form::Finish => (number, FIN | ACK),
                    Form::Opening | Form::Fragments => ([0; 4], SYN),
                };
                [&ports[..], &number, &acknowledged, &[5 << 4, flags, 0xff, 0xff], &[0; 4]].concat()
            }
            Protocol::Udp if self.form == Form::Fragments => {
                [&ports[..], &32_u16.to_be_bytes(), &[0; 2], &number, &[0; 20]].concat()
            }
            Protocol::Udp => [&ports[..], &12_u16.to_be_bytes(), &[0; 2], &number].concat(),
            // Tag 0, checksum; the INIT chunk: tag, window, streams, first TSN (RFC 9260 §3.3.2).
            Protocol::Sctp => {
                [&ports[..], &[0; 8], &[1, 0, 0, 20], &number, &[0, 1, 0, 0, 0, 1, 0, 1], &number].concat()
            }
        }
    }

    /// `place`: flags and offset of an IPv4 fragment.
    fn header(&self, length: usize, place: u16) -> Vec<u8> {
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        match (self.source.ip(), self.destination.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut header = [0; 20];
                header[0] = 0x45;
                header[2..4].copy_from_slice(&(20 + length).to_be_bytes());
                header[4..6].copy_from_slice(&self.number.to_be_bytes()[2..]);
                header[6..8].copy_from_slice(&place.to_be_bytes());
                header[8..10].copy_from_slice(&[64, self.protocol.number()]);
                header[12..16].copy_from_slice(&source.octets());
                header[16..20].copy_from_slice(&destination.octets());
                let checksum = !fold(sum(&header));
                header[10..12].copy_from_slice(&checksum.to_be_bytes());
                header.to_vec()
            }
            (source, destination) => {
                let start = [0x60, 0, 0, 0, length.to_be_bytes()[0], length.to_be_bytes()[1]];
                [&start[..], &[self.protocol.number(), 64], &octets(source), &octets(destination)].concat()
            }
        }
    }

    /// Over the pseudo-header too; its fields count the same in both families.
    fn checksum(&self, segment: &[u8]) -> u16 {
        let addresses = [octets(self.source.ip()), octets(self.destination.ip())].concat();
        let rest = u32::from(self.protocol.number()) + u32::try_from(segment.len()).unwrap_or(u32::MAX);
        match !fold(sum(&addresses) + rest + sum(segment)) {
            0 => u16::MAX,
            checksum => checksum,
        }
    }
}

/// Reads an IP packet; `None` for what is neither.
pub(super) fn read(packet: &[u8]) -> Option<Sighting> {
    let (protocol, source, destination, rest) = split(packet)?;
    read_rest(protocol, source, destination, rest)
}

/// Reads what follows an IP header.
pub(super) fn read_rest(protocol: u8, source: IpAddr, destination: IpAddr, rest: &[u8]) -> Option<Sighting> {
    match protocol {
        // Destination unreachable; the packet that it is about follows after eight bytes.
        ICMP if rest.first() == Some(&3) => refused(rest.get(8..)?),
        ICMPV6 if rest.first() == Some(&1) => refused(rest.get(8..)?),
        6 => match rest.get(13)? & (ACK | RST | SYN | FIN) {
            SYN => first(protocol, source, destination, rest).map(Sighting::First),
            RST => late(first(protocol, source, destination, rest)?, Form::Reset),
            flags if flags & RST != 0 => Some(Sighting::Refusal(word(rest, 8)?.wrapping_sub(1))),
            flags if flags == FIN | ACK => late(first(protocol, source, destination, rest)?, Form::Finish),
            _ => None,
        },
        _ => first(protocol, source, destination, rest).map(Sighting::First),
    }
}

fn late(first: First, form: Form) -> Option<Sighting> {
    Some(Sighting::First(First { form, ..first }))
}

fn refused(packet: &[u8]) -> Option<Sighting> {
    let (protocol, source, destination, rest) = split(packet)?;
    first(protocol, source, destination, rest).map(|first| Sighting::Refusal(first.number))
}

fn split(packet: &[u8]) -> Option<(u8, IpAddr, IpAddr, &[u8])> {
    match packet.first()? >> 4 {
        4 => {
            let address = |at: usize| {
                let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
                Some(IpAddr::V4(Ipv4Addr::from(octets)))
            };
            let length = usize::from(packet[0] & 15) * 4;
            Some((*packet.get(9)?, address(12)?, address(16)?, packet.get(length..)?))
        }
        6 => {
            let address = |at: usize| {
                let octets: [u8; 16] = packet.get(at..at + 16)?.try_into().ok()?;
                Some(IpAddr::V6(Ipv6Addr::from(octets)))
            };
            Some((*packet.get(6)?, address(8)?, address(24)?, packet.get(40..)?))
        }
        _ => None,
    }
}

fn first(protocol: u8, source: IpAddr, destination: IpAddr, rest: &[u8]) -> Option<First> {
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
    let protocol = protocols.into_iter().find(|known| known.number() == protocol)?;
    let number = match protocol {
        Protocol::Tcp => word(rest, 4)?,
        Protocol::Udp => word(rest, 8)?,
        Protocol::Sctp => word(rest, 16)?,
    };
    let port = |at: usize| Some(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?));
    let (source, destination) = (SocketAddr::new(source, port(0)?), SocketAddr::new(destination, port(2)?));
    Some(First { protocol, source, destination, number, form: Form::Opening })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// The Internet checksum's sum (RFC 1071); all lengths here are even.
fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}

fn fold(sum: u32) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// SCTP's checksum (RFC 9260 appendix A).
fn crc32c(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg());
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for (source, destination) in [("10.0.0.1:1", "10.0.0.2:2"), ("[fd00::1]:1", "[fd00::2]:2")] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
                let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
                let opening =
                    First { protocol, source, destination, number: 0x0102_0304, form: Form::Opening };
                let late = [Form::Reset, Form::Finish].map(|form| First { form, ..opening });
                for first in
                    [opening].into_iter().chain(late.into_iter().filter(|_| protocol == Protocol::Tcp))
                {
                    assert_eq!(read(&first.packets()[0]), Some(Sighting::First(first)));
                }
            }
        }
    }

    #[test]
    fn crc_of_the_standard() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }
}
