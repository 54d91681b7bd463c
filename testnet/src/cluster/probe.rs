//! Real clients: one connection or datagram, and what came of it. Call them in the sender's namespace.

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket,
};

use super::Heard;

/// How long to wait for an answer that should come. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long silence must last to be believed.
pub const SILENCE: Duration = Duration::from_millis(150);

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
pub fn tcp(destination: SocketAddrV4, patience: Duration) -> Answer {
    let begun = Instant::now();
    let talk = || {
        let mut stream = TcpStream::connect_timeout(&destination.into(), patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    answer(talk(), begun)
}

/// Sends a datagram from a new port and waits for one.
#[must_use]
pub fn udp(destination: SocketAddrV4, patience: Duration) -> Answer {
    udp_from(0, destination, patience)
}

/// The same from a port of one's own: datagrams from one port to one destination are one flow to the kernel.
#[must_use]
pub fn udp_from(port: u16, destination: SocketAddrV4, patience: Duration) -> Answer {
    let begun = Instant::now();
    let talk = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.connect(destination)?;
        socket.set_read_timeout(Some(patience))?;
        socket.send(b"?")?;
        let mut datagram = [0; 512];
        let length = socket.recv(&mut datagram)?;
        Ok(String::from_utf8_lossy(&datagram[..length]).into_owned())
    };
    answer(talk(), begun)
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

/// Sends a TCP reset of a connection that nobody knows, and waits a moment for whatever may come of it.
///
/// # Errors
/// The socket's, e.g. without CAP_NET_RAW in the namespace.
pub fn late_reset(source: Ipv4Addr, destination: SocketAddrV4) -> io::Result<()> {
    let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    let segment = reset_segment(source, destination);
    let [a, b, c, d] = destination.ip().octets();
    let to = SockaddrIn::new(a, b, c, d, 0);
    sendto(std::os::fd::AsRawFd::as_raw_fd(&raw), &segment, &to, MsgFlags::empty())?;
    std::thread::sleep(Duration::from_millis(20));
    Ok(())
}

/// A TCP header with RST and ACK (RFC 9293 §3.1), its checksum over the pseudo-header included.
fn reset_segment(source: Ipv4Addr, destination: SocketAddrV4) -> [u8; 20] {
    let mut segment = [0; 20];
    segment[0..2].copy_from_slice(&40_404_u16.to_be_bytes());
    segment[2..4].copy_from_slice(&destination.port().to_be_bytes());
    segment[4..8].copy_from_slice(&1_u32.to_be_bytes());
    segment[8..12].copy_from_slice(&1_u32.to_be_bytes());
    segment[12] = 5 << 4;
    segment[13] = 0x14;
    let pseudo = [&source.octets()[..], &destination.ip().octets(), &[0, 6, 0, 20], &segment].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}
