//! Real clients: one connection or datagram, and what came of it. Call them in the sender's namespace.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};

use super::{Heard, sctp as association};

/// How long to wait for an answer that should come. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long silence must last to be believed.
pub const SILENCE: Duration = Duration::from_millis(150);

/// More than two packets of the wire's 1,500 bytes.
const LONG: usize = 4_000;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A server's text.
    Heard(Heard),
    /// Told that nobody is there, after this time: a reset, ICMP port unreachable, or the kernel's own refusal.
    Refused(Duration),
    /// Nothing came in the time given.
    Silence,
    /// Something else, as text.
    Other(String),
}

/// Opens a TCP connection and reads to its end.
#[must_use]
pub fn tcp(destination: SocketAddr, patience: Duration) -> Answer {
    let begun = Instant::now();
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&destination, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    answer(talk(), begun)
}

/// Sends a datagram from a new port and waits for one.
#[must_use]
pub fn udp(destination: SocketAddr, patience: Duration) -> Answer {
    udp_from(0, destination, patience)
}

/// The same from a port of one's own: datagrams from one port to one destination are one flow to the kernel.
#[must_use]
pub fn udp_from(port: u16, destination: SocketAddr, patience: Duration) -> Answer {
    datagram(port, b"?", destination, patience)
}

/// The same with a datagram, and an answer, that are longer than a packet may be.
#[must_use]
pub fn fragments(destination: SocketAddr, patience: Duration) -> Answer {
    datagram(0, &[b'?'; LONG], destination, patience)
}

fn datagram(port: u16, question: &[u8], destination: SocketAddr, patience: Duration) -> Answer {
    let begun = Instant::now();
    let talk = || {
        let socket = UdpSocket::bind((any(destination.ip()), port))?;
        socket.connect(destination)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(question)?;
        let mut datagram = vec![0; 65_535];
        let length = socket.recv(&mut datagram)?;
        if length < question.len() {
            return Ok(format!("an answer of {length} bytes to {}", question.len()));
        }
        Ok(String::from_utf8_lossy(&datagram[..length]).into_owned())
    };
    answer(talk(), begun)
}

fn any(family: IpAddr) -> IpAddr {
    if family.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// Begins an SCTP association.
#[must_use]
pub fn sctp(destination: SocketAddr, patience: Duration) -> Answer {
    let begun = Instant::now();
    answer(association::talk(destination, patience), begun)
}

fn answer(result: io::Result<String>, begun: Instant) -> Answer {
    match result {
        Ok(text) => {
            Heard::parse(&text).map_or_else(|| Answer::Other(format!("text {text:?}")), Answer::Heard)
        }
        Err(error) => match error.kind() {
            // The kernel tells a process of the node itself by EPERM that its datagram was rejected on the way out.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied => {
                Answer::Refused(begun.elapsed())
            }
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Answer::Silence,
            _ => Answer::Other(error.to_string()),
        },
    }
}

/// What a segment of a connection says that nobody knows any more, with the flags of its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// RST and ACK.
    Reset = 0x14,
    /// FIN and ACK.
    Fin = 0x11,
}

/// Sends a segment of a connection that nobody knows, and waits a moment for whatever may come of it.
///
/// # Errors
/// The socket's, e.g. without CAP_NET_RAW in the namespace.
pub fn late(what: Late, source: IpAddr, destination: SocketAddr) -> io::Result<()> {
    let family = if source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    let segment = segment(what, source, destination);
    let to = SockaddrStorage::from(SocketAddr::new(destination.ip(), 0));
    sendto(raw.as_raw_fd(), &segment, &to, MsgFlags::empty())?;
    std::thread::sleep(Duration::from_millis(20));
    Ok(())
}

/// A TCP header (RFC 9293 §3.1), its checksum over the pseudo-header included. That of IPv6 (RFC 8200 §8.1) adds up to
/// the same sum as IPv4's.
fn segment(what: Late, source: IpAddr, destination: SocketAddr) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[0..2].copy_from_slice(&40_404_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.port().to_be_bytes());
    segment[4..8].copy_from_slice(&1_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&1_u32.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = what as u8;
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let pseudo = [octets(source), octets(destination.ip()), vec![0, 6, 0, 20], segment.to_vec()].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}
