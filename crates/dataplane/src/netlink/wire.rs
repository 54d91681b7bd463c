//! The system calls under a netlink socket, and the seam where a test puts something that answers like the kernel.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::sockopt::{ReceiveTimeout, SndBuf, SndBufForce};
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, getsockopt, setsockopt,
};
use nix::sys::time::TimeVal;

use super::error::{Error, PATIENCE_SECONDS};

/// What we ask for: what must not be torn apart (a service's rules with session affinity) may be larger than what is put
/// together in one transaction.
const SEND_BUFFER: usize = 1 << 20;

/// Carries datagrams to the kernel and back; in tests, to what stands in its place. Nothing in the product makes
/// another than the kernel's.
pub trait Wire: Send + fmt::Debug {
    /// Sends a datagram.
    ///
    /// # Errors
    /// The system's.
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Receives a datagram into `buffer` and says how long it was, which is more than the buffer holds when it was
    /// cut off. Waits for one, for a while, when told to.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, `Interrupted` when a signal came; `ENOBUFS` when datagrams were lost.
    fn receive(&mut self, buffer: &mut [u8], wait: bool) -> io::Result<usize>;

    /// Sizes the send buffer beyond the system's limit and says what it is then; `None` when that is refused, as it is
    /// to an ordinary user's namespaces.
    fn force_send_buffer(&mut self, bytes: usize) -> Option<usize> {
        let _ = bytes;
        None
    }
}

/// A `NETLINK_NETFILTER` socket of the network namespace in which it was opened.
#[derive(Debug)]
pub(super) struct Kernel {
    fd: OwnedFd,
}

impl Kernel {
    pub(super) fn open() -> Result<Self, Error> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let fd = socket::socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
            .map_err(|errno| Error::socket("open a netfilter socket", errno))?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0))
            .map_err(|errno| Error::socket("bind the socket", errno))?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::new(PATIENCE_SECONDS, 0))
            .map_err(|errno| Error::socket("set a receive timeout", errno))?;
        // Beyond net.core.wmem_max only with CAP_NET_ADMIN in the initial user namespace; else what there is.
        if setsockopt(&fd, SndBufForce, &(SEND_BUFFER / 2)).is_err() {
            setsockopt(&fd, SndBuf, &(SEND_BUFFER / 2))
                .map_err(|errno| Error::socket("size the send buffer", errno))?;
        }
        Ok(Self { fd })
    }

    /// Makes the send buffer as small as asked.
    pub(super) fn shrink_send_buffer(&self, bytes: usize) -> Result<(), Error> {
        setsockopt(&self.fd, SndBuf, &bytes).map_err(|errno| Error::socket("size the send buffer", errno))
    }

    /// The send buffer as the kernel counts it: it doubles what was asked for and compares with the double.
    pub(super) fn send_buffer(&self) -> Result<usize, Error> {
        getsockopt(&self.fd, SndBuf).map_err(|errno| Error::socket("read its send buffer", errno))
    }

    /// The number by which the kernel knows the socket: in what it tells others of our transactions.
    pub(super) fn port(&self) -> Result<u32, Error> {
        socket::getsockname::<NetlinkAddr>(self.fd.as_raw_fd())
            .map(|address| address.pid())
            .map_err(|errno| Error::socket("read its port", errno))
    }
}

impl Wire for Kernel {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let sent = socket::send(self.fd.as_raw_fd(), datagram, MsgFlags::empty())?;
        debug_assert_eq!(sent, datagram.len(), "netlink sends whole datagrams");
        Ok(())
    }

    fn receive(&mut self, buffer: &mut [u8], wait: bool) -> io::Result<usize> {
        let flags = if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        receive(&self.fd, buffer, flags)
    }

    fn force_send_buffer(&mut self, bytes: usize) -> Option<usize> {
        // The kernel doubles what is asked for.
        setsockopt(&self.fd, SndBufForce, &(bytes / 2)).ok()?;
        self.send_buffer().ok()
    }
}

/// Receives from the kernel only: another process that knows our port could send to it, too.
pub(super) fn receive(fd: &OwnedFd, buffer: &mut [u8], flags: MsgFlags) -> io::Result<usize> {
    loop {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = flags | MsgFlags::MSG_TRUNC;
        let received = socket::recvmsg::<NetlinkAddr>(fd.as_raw_fd(), &mut parts, None, flags)?;
        if received.address.is_none_or(|sender| sender.pid() == 0) {
            return Ok(received.bytes);
        }
    }
}
