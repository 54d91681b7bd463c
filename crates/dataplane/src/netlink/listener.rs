//! A socket that hears what others tell netfilter.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};

use super::batch::{Messages, messages};
use super::error::Error;
use super::wire;

/// A notification is at most a page, a transaction's are joined into datagrams of some.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// Where a message names the socket whose doing it tells of.
const PORT_OFFSET: u32 = 12;
/// Longest program of [`quiet`].
const PORTS_MAX: usize = 100;

/// A subscription to one group of netfilter's notifications, in the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Listener {
    /// Subscribes to `group` (`NFNLGRP_*`, below 33) but for what the sockets with these ports do: the kernel leaves
    /// that out before it is queued, so that our own large transactions cannot overrun the queue.
    pub(crate) fn open(group: u32, quiet_ports: &[u32]) -> Result<Self, Error> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)
            .map_err(|errno| Error::socket("open a netfilter socket", errno))?;
        quiet(&fd, quiet_ports).map_err(|error| Error::socket("leave out our own transactions", error))?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 1 << (group - 1)))
            .map_err(|errno| Error::socket("subscribe to changes", errno))?;
        Ok(Self { fd, buffer: vec![0; RECEIVE_BUFFER] })
    }

    /// The next notifications. Never waits: poll the descriptor.
    ///
    /// # Errors
    /// `WouldBlock` when there are none; `ENOBUFS` when some were lost.
    pub(crate) fn receive(&mut self) -> io::Result<Messages<'_>> {
        let length = loop {
            match wire::receive(&self.fd, &mut self.buffer, MsgFlags::empty()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        // One that was cut off is as good as lost.
        self.buffer.get(..length).map(messages).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOBUFS))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Has the kernel drop the messages that tell of these sockets' doings: all of one datagram are of one transaction.
fn quiet(fd: &OwnedFd, ports: &[u32]) -> io::Result<()> {
    let ports = &ports[..ports.len().min(PORTS_MAX)];
    let program = program(ports);
    attach(fd, &program)
}

/// In classic BPF: load the port, compare it with each, accept what is none of them.
fn program(ports: &[u32]) -> Vec<libc::sock_filter> {
    let statement = |code: u32, k: u32, jt: u8| libc::sock_filter { code: code as u16, jt, jf: 0, k };
    let mut program = vec![statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, PORT_OFFSET, 0)];
    for (index, port) in ports.iter().enumerate() {
        // Loads are big-endian, the header is in host order; a jump goes over the rest and the accepting return.
        let (wanted, rest) = (u32::from_be_bytes(port.to_ne_bytes()), ports.len() - index);
        let jump = u8::try_from(rest).expect("there are at most PORTS_MAX");
        program.push(statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, wanted, jump));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, u32::MAX, 0));
    program.push(statement(libc::BPF_RET | libc::BPF_K, 0, 0));
    program
}

#[allow(unsafe_code, reason = "a system call with pointers that has no safe form")]
fn attach(fd: &OwnedFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until the call returns, and writes nothing.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_leads_to_the_refusing_return() {
        for count in 0..=PORTS_MAX {
            let ports: Vec<u32> = (1..).take(count).collect();
            let program = program(&ports);
            let refusal = program.len() - 1;
            assert_eq!((program.len(), program[refusal].k), (count + 3, 0));
            for (at, jump) in program.iter().enumerate().skip(1).take(count) {
                assert_eq!(at + 1 + usize::from(jump.jt), refusal);
            }
        }
    }
}
