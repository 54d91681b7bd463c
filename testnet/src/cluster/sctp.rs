//! SCTP over raw sockets: the first two packets of an association, which is all that translation is decided by. Many
//! kernels can translate SCTP that have no SCTP sockets.
//!
//! The server answers an INIT by an INIT ACK whose state cookie is the text that other servers send (RFC 9260 §3.3.2, §3.3.3).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, bind, connect, recv, recvfrom, send, sendto,
};

const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const STATE_COOKIE: u16 = 7;

/// A server of one address and port.
#[derive(Debug)]
pub(super) struct Listener {
    socket: OwnedFd,
    address: SocketAddr,
}

impl Listener {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = raw(address.ip())?;
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address.ip(), 0)))?;
        Ok(Self { socket, address })
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Answers the associations that wait.
    pub(super) fn serve(&self) {
        let mut packet = [0; 2048];
        while let Ok((length, Some(from))) = recvfrom::<SockaddrStorage>(self.socket.as_raw_fd(), &mut packet)
        {
            let (Some(client), Some(segment)) = (ip_of(&from), payload(self.address.ip(), &packet[..length]))
            else {
                continue;
            };
            if let Some(init) = Segment::read(segment).filter(|init| init.to == self.address.port()) {
                let client = SocketAddr::new(client, init.from);
                let answer = init.answer(&format!("{} {client}\n", self.address));
                let to = SockaddrStorage::from(SocketAddr::new(client.ip(), 0));
                let _ = sendto(self.socket.as_raw_fd(), &answer, &to, MsgFlags::empty());
            }
        }
    }
}

/// Begins an association and returns the server's text. One at a time: raw sockets know no ports, so the refusal of one
/// association is told to all that go to the same address.
pub(super) fn talk(destination: SocketAddr, patience: Duration) -> io::Result<String> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = raw(destination.ip())?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(destination.ip(), 0)))?;
    let from = next_port();
    send(socket.as_raw_fd(), &init(from, destination.port()), MsgFlags::empty())?;
    let until = Instant::now() + patience;
    let mut packet = [0; 2048];
    loop {
        wait(&socket, until.saturating_duration_since(Instant::now()))?;
        let length = match recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
            Err(nix::errno::Errno::EAGAIN) => continue,
            received => received?,
        };
        let segment = payload(destination.ip(), &packet[..length]);
        let text = segment.and_then(|segment| cookie(segment, destination.port(), from));
        if let Some(text) = text {
            return Ok(text);
        }
    }
}

/// Ports that no other association of this program has had for long.
fn next_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    20_000 + NEXT.fetch_add(1, Ordering::Relaxed) % 40_000
}

fn raw(family: IpAddr) -> io::Result<OwnedFd> {
    let family = if family.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family)
}

#[allow(unsafe_code, reason = "nix names no SCTP")]
fn socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let kind = SockType::Raw as libc::c_int | (SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK).bits();
    // SAFETY: no pointers are passed; the result is checked before it is taken over as a descriptor.
    let socket = unsafe { libc::socket(family as libc::c_int, kind, libc::IPPROTO_SCTP) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(socket) })
}

fn wait(socket: &OwnedFd, patience: Duration) -> io::Result<()> {
    let timeout = PollTimeout::try_from(patience).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], timeout)? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(()),
    }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// What follows the IP header; IPv6 raw sockets do not show it.
fn payload(family: IpAddr, packet: &[u8]) -> Option<&[u8]> {
    let header = if family.is_ipv4() { usize::from(packet.first()? & 0xf) * 4 } else { 0 };
    packet.get(header..)
}

/// An INIT as a server reads it.
struct Segment {
    from: u16,
    to: u16,
    tag: [u8; 4],
}

impl Segment {
    fn read(segment: &[u8]) -> Option<Self> {
        let chunk = segment.get(12..20)?;
        let tag = chunk.get(4..8)?.try_into().ok()?;
        (chunk[0] == INIT).then(|| Self { from: port(segment, 0), to: port(segment, 2), tag })
    }

    fn answer(&self, text: &str) -> Vec<u8> {
        let mut cookie = STATE_COOKIE.to_be_bytes().to_vec();
        cookie.extend(u16::try_from(text.len() + 4).unwrap_or(4).to_be_bytes());
        cookie.extend(text.as_bytes());
        cookie.resize(cookie.len().next_multiple_of(4), 0);
        packet(self.to, self.from, self.tag, INIT_ACK, &cookie)
    }
}

fn port(segment: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([segment[at], segment[at + 1]])
}

fn init(from: u16, to: u16) -> Vec<u8> {
    packet(from, to, [0; 4], INIT, &[])
}

/// The common header, then one chunk of INIT's form with what follows its fixed part.
fn packet(from: u16, to: u16, tag: [u8; 4], kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend(tag);
    packet.extend([0; 4]);
    packet.extend([kind, 0]);
    packet.extend(u16::try_from(20 + rest.len()).unwrap_or(20).to_be_bytes());
    // Initiate tag, receiver window, streams out and in, initial TSN.
    packet.extend([0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    packet.extend(rest);
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    packet
}

/// The text in an INIT ACK between these ports.
fn cookie(segment: &[u8], from: u16, to: u16) -> Option<String> {
    let ours = segment.len() >= 36 && segment[12] == INIT_ACK;
    if !ours || port(segment, 0) != from || port(segment, 2) != to {
        return None;
    }
    let length = usize::from(port(segment, 34)).checked_sub(4)?;
    Some(String::from_utf8_lossy(segment.get(36..36 + length)?).into_owned())
}

/// RFC 9260 appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_as_in_the_rfc() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_client_reads_what_a_server_answers() {
        let init = Segment::read(&init(4000, 80)).unwrap();
        assert_eq!((init.from, init.to), (4000, 80));
        assert_eq!(cookie(&init.answer("a b\n"), 80, 4000).as_deref(), Some("a b\n"));
        assert_eq!(cookie(&init.answer("a b\n"), 80, 4001), None);
    }
}
