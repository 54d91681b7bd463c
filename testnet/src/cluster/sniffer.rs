//! Watches the wire for packets that may never be on it: to or from a service address.
//!
//! Translation happens on the client's node, in both directions; what carries a virtual IP has escaped it. A filter in
//! the kernel keeps everything else away, so that the socket's buffer cannot overflow with proper traffic.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use super::{Error, Namespace};

/// Packet sockets on all interfaces of the wire, one for each family that has services.
#[derive(Debug)]
pub(super) struct Sniffer(Vec<(Family, OwnedFd)>);

/// A packet that should not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leak {
    protocol: &'static str,
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// Where source and destination stand in the header.
    fn offsets(self) -> [u32; 2] {
        match self {
            Self::V4 => [12, 16],
            Self::V6 => [8, 24],
        }
    }

    fn read(self, packet: &[u8]) -> Option<Leak> {
        let (protocol, addresses) = match self {
            Self::V4 => {
                let address =
                    |at: usize| Some(IpAddr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?));
                (*packet.get(9)?, [address(12)?, address(16)?])
            }
            Self::V6 => {
                let address =
                    |at: usize| Some(IpAddr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?));
                (*packet.get(6)?, [address(8)?, address(24)?])
            }
        };
        let protocol = match protocol {
            1 | 58 => "icmp",
            6 => "tcp",
            17 => "udp",
            132 => "sctp",
            _ => "other",
        };
        Some(Leak { protocol, source: addresses[0], destination: addresses[1] })
    }
}

impl Sniffer {
    pub(super) fn open(wire: &Namespace, forbidden: &[IpNet]) -> Result<Self, Error> {
        let mut sockets = Vec::new();
        for family in [Family::V4, Family::V6] {
            let of_family = |network: &&IpNet| network.addr().is_ipv4() == (family == Family::V4);
            let networks: Vec<IpNet> = forbidden.iter().filter(of_family).copied().collect();
            if networks.is_empty() {
                continue;
            }
            let opened = wire.run(move || open(family, &networks))?;
            let what = "a packet socket on the wire".to_owned();
            sockets.push((family, opened.map_err(|source| Error::Socket { what, source })?));
        }
        Ok(Self(sockets))
    }

    /// What was caught since the last call.
    pub(super) fn drain(&self) -> Vec<Leak> {
        let (mut packet, mut caught) = ([0; 64], Vec::new());
        for (family, socket) in &self.0 {
            while let Ok(length) = recv(socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
                caught.extend(family.read(&packet[..length]));
            }
        }
        caught.dedup();
        caught
    }
}

impl fmt::Display for Leak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.protocol, self.source, self.destination)
    }
}

fn open(family: Family, forbidden: &[IpNet]) -> io::Result<OwnedFd> {
    let protocol = match family {
        Family::V4 => SockProtocol::EthIp,
        Family::V6 => SockProtocol::EthIpv6,
    };
    // Cooked packets: they start with the IP header.
    let packets = socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol)?;
    attach(&packets, &filter(family, forbidden))?;
    Ok(packets)
}

/// Classic BPF: keep the packet if its source or destination is in one of the networks.
fn filter(family: Family, networks: &[IpNet]) -> Vec<libc::sock_filter> {
    let mut program = Vec::new();
    for network in networks {
        for offset in family.offsets() {
            program.extend(in_network(*network, offset));
        }
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0));
    program
}

/// Keeps the packet if the address at `offset` is in the network, and goes on behind itself if not.
fn in_network(network: IpNet, offset: u32) -> Vec<libc::sock_filter> {
    let words = words(network);
    let length = words.len();
    let mut program = Vec::new();
    for (index, (at, mask, value)) in words.into_iter().enumerate() {
        program.push(instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset + at));
        program.push(instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, mask));
        let mut equal = instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value);
        // Past the remaining words, three instructions each, and the verdict.
        equal.jf = u8::try_from(3 * (length - index) - 2).unwrap_or(u8::MAX);
        program.push(equal);
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 64));
    program
}

fn instruction(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// The network's 32-bit words that its prefix covers: offset, mask and value.
fn words(network: IpNet) -> Vec<(u32, u32, u32)> {
    let bytes = |address: IpAddr| match address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => Ipv6Addr::octets(&address).to_vec(),
    };
    let (mask, value) = (bytes(network.netmask()), bytes(network.network()));
    let word = |chunk: &[u8]| u32::from_be_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
    let words = mask.chunks(4).zip(value.chunks(4)).zip(0u32..);
    let words = words.map(|((mask, value), index)| (4 * index, word(mask), word(value)));
    words.filter(|(_, mask, _)| *mask != 0).collect()
}

#[allow(unsafe_code, reason = "nix has no SO_ATTACH_FILTER")]
fn attach(socket: &OwnedFd, filter: &[libc::sock_filter]) -> io::Result<()> {
    let count = u16::try_from(filter.len()).map_err(io::Error::other)?;
    let program = libc::sock_fprog { len: count, filter: filter.as_ptr().cast_mut() };
    let length = libc::socklen_t::try_from(size_of_val(&program)).map_err(io::Error::other)?;
    // SAFETY: `program` points at `count` initialised instructions that outlive the call, which only reads them, and
    // `length` is the size of the structure.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            std::ptr::from_ref(&program).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
