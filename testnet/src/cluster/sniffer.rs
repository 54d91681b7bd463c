//! Watches the wire for packets that may never be on it: to or from a service address.
//!
//! Translation happens on the client's node, in both directions; what carries a virtual IP has escaped it. A filter in
//! the kernel keeps everything else away, so that the socket's buffer cannot overflow with proper traffic.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use ipnet::Ipv4Net;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use super::{Error, Namespace};

/// A packet socket on all interfaces of the wire.
#[derive(Debug)]
pub(super) struct Sniffer(OwnedFd);

impl Sniffer {
    pub(super) fn open(wire: &Namespace, forbidden: Ipv4Net) -> Result<Self, Error> {
        let opened = wire.run(move || open(forbidden))?;
        opened
            .map(Self)
            .map_err(|source| Error::Socket { what: "a packet socket on the wire".to_owned(), source })
    }

    /// What was caught since the last call.
    pub(super) fn drain(&self) -> Vec<String> {
        let (mut packet, mut caught) = ([0; 64], Vec::new());
        while let Ok(length) = recv(self.0.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            if length >= 20 {
                let address =
                    |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
                let protocol = match packet[9] {
                    1 => "icmp",
                    6 => "tcp",
                    17 => "udp",
                    _ => "other",
                };
                caught.push(format!("{protocol} {} -> {}", address(12), address(16)));
            }
        }
        caught.dedup();
        caught
    }
}

fn open(forbidden: Ipv4Net) -> io::Result<OwnedFd> {
    // Cooked packets: they start with the IP header.
    let packets =
        socket(AddressFamily::Packet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, SockProtocol::EthIp)?;
    attach(&packets, &filter(forbidden))?;
    Ok(packets)
}

/// Classic BPF: keep the packet if its destination (offset 16) or source (offset 12) is in the network.
fn filter(network: Ipv4Net) -> [libc::sock_filter; 8] {
    let code = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let (load, and) =
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_ALU | libc::BPF_AND | libc::BPF_K);
    let (mask, net) = (u32::from(network.netmask()), u32::from(network.network()));
    let equal = |jt: u8, jf: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt,
        jf,
        k: net,
    };
    let give = libc::BPF_RET | libc::BPF_K;
    [
        code(load, 16),
        code(and, mask),
        equal(3, 0),
        code(load, 12),
        code(and, mask),
        equal(0, 1),
        code(give, 64),
        code(give, 0),
    ]
}

#[allow(unsafe_code, reason = "nix has no SO_ATTACH_FILTER")]
fn attach(socket: &OwnedFd, filter: &[libc::sock_filter; 8]) -> io::Result<()> {
    let program = libc::sock_fprog { len: 8, filter: filter.as_ptr().cast_mut() };
    let length = libc::socklen_t::try_from(size_of_val(&program)).map_err(io::Error::other)?;
    // SAFETY: `program` points at eight initialised instructions that outlive the call, which only reads them, and
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
