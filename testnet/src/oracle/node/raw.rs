//! Raw sockets: what the node's own processes send, and what is delivered to them.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, recv, recvmsg, sendto, setsockopt, sockopt,
};

use super::super::packet::{First, Sighting, read, read_rest};

/// TCP, UDP, SCTP, and the family's ICMP.
const PROTOCOLS: [[u8; 4]; 2] = [[6, 17, 132, 58], [6, 17, 132, 1]];

/// For each family (IPv6, IPv4) a socket that sends and those that receive.
#[derive(Debug)]
pub(super) struct RawSockets {
    send: [OwnedFd; 2],
    receive: [[OwnedFd; 4]; 2],
}

impl RawSockets {
    /// Opens them in the calling thread's network namespace.
    pub(super) fn open() -> io::Result<Self> {
        let families = [libc::AF_INET6, libc::AF_INET];
        let receive = |ipv4: usize| -> io::Result<[OwnedFd; 4]> {
            let [tcp, udp, sctp, icmp] =
                PROTOCOLS[ipv4].map(|protocol| open(families[ipv4], protocol.into()));
            Ok([tcp?, udp?, sctp?, icmp?])
        };
        let (v6, v4) = (receive(0)?, receive(1)?);
        for socket in &v6 {
            setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
        // With this protocol the sender writes the IP header in both families.
        let send = families.map(|family| open(family, libc::IPPROTO_RAW));
        let [send6, send4] = send;
        Ok(Self { send: [send6?, send4?], receive: [v6, v4] })
    }

    /// Sends as a process of the node does. A refusal or a loss on the way out is no error here: it will be seen.
    pub(super) fn send(&self, first: &First) -> io::Result<()> {
        first.packets().iter().try_for_each(|packet| self.send_packet(packet, first.destination))
    }

    fn send_packet(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let sent = match to {
            SocketAddr::V4(to) => {
                let to = SockaddrIn::from(SocketAddrV4::new(*to.ip(), 0));
                sendto(self.send[1].as_raw_fd(), bytes, &to, MsgFlags::empty())
            }
            SocketAddr::V6(to) => {
                let to = SockaddrIn6::from(SocketAddrV6::new(*to.ip(), 0, 0, 0));
                sendto(self.send[0].as_raw_fd(), bytes, &to, MsgFlags::empty())
            }
        };
        match sent {
            Ok(_) | Err(Errno::EPERM) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Empties the sockets of a family.
    pub(super) fn receive(&self, ipv4: bool, seen: &mut impl FnMut(Sighting)) {
        let mut buffer = [0; 2048];
        for (socket, protocol) in self.receive[usize::from(ipv4)].iter().zip(PROTOCOLS[usize::from(ipv4)]) {
            if ipv4 {
                while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                    read(&buffer[..length]).into_iter().for_each(&mut *seen);
                }
            } else {
                while let Ok((source, destination, length)) = receive_v6(socket, &mut buffer) {
                    let sighting = read_rest(protocol, source, destination, &buffer[..length]);
                    sighting.into_iter().for_each(&mut *seen);
                }
            }
        }
    }
}

/// IPv6's raw sockets leave out the header: its addresses come beside the packet.
fn receive_v6(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(IpAddr, IpAddr, usize)> {
    let mut space = cmsg_space!(libc::in6_pktinfo);
    let mut parts = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrIn6>(socket.as_raw_fd(), &mut parts, Some(&mut space), flags)?;
    let source = message.address.map_or(Ipv6Addr::UNSPECIFIED, |address| address.ip());
    let destination = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr)),
        _ => None,
    });
    let destination = destination.unwrap_or(Ipv6Addr::UNSPECIFIED);
    Ok((source.into(), destination.into(), message.bytes))
}

#[allow(unsafe_code, reason = "nix has no raw sockets of any protocol")]
fn open(family: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let socket = unsafe { libc::socket(family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}
