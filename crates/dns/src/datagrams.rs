//! `recvmmsg` and `sendmmsg` over buffers that are allocated once: the only unsafe code of the crate.
//!
//! Public because the measuring of the server (`examples/throughput.rs`) must use the very same system calls.

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Packets in one batch: beyond 16 nothing more is gained.
pub const BATCH: usize = 16;
/// Largest query taken. Larger datagrams are cut by the kernel and refused by the reader.
const QUERY_BYTES: usize = 2048;
/// Largest answer given over UDP, whatever the client says it can take.
const ANSWER_BYTES: usize = 4096;

/// One packet's room: the query, its sender, the answer.
struct Slot {
    query: [u8; QUERY_BYTES],
    query_length: usize,
    peer: libc::sockaddr_storage,
    peer_length: libc::socklen_t,
    answer: [u8; ANSWER_BYTES],
    answer_length: usize,
}

/// A batch of packets with their answers.
pub struct Batch {
    slots: Box<[Slot]>,
    received: usize,
}

/// Packet headers for one system call.
type Headers = [libc::mmsghdr; BATCH];
type Buffers = [libc::iovec; BATCH];

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Allocates the buffers.
    #[must_use]
    pub fn new() -> Self {
        let slot = || Slot {
            query: [0; QUERY_BYTES],
            query_length: 0,
            peer: zeroed_address(),
            peer_length: 0,
            answer: [0; ANSWER_BYTES],
            answer_length: 0,
        };
        Self { slots: (0..BATCH).map(|_| slot()).collect(), received: 0 }
    }

    /// Waits for at least one packet and takes all that are there, up to a batch. With `wait` false it returns 0 when
    /// there is none.
    ///
    /// # Errors
    /// What `recvmmsg` reports, EINTR included.
    #[allow(unsafe_code, reason = "system call with pointers")]
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        let (mut headers, mut buffers) = blank();
        for ((slot, header), buffer) in self.slots.iter_mut().zip(&mut headers).zip(&mut buffers) {
            *buffer = libc::iovec { iov_base: slot.query.as_mut_ptr().cast(), iov_len: QUERY_BYTES };
            header.msg_hdr.msg_name = (&raw mut slot.peer).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = buffer;
            header.msg_hdr.msg_iovlen = 1;
        }
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: every header points to its own slot's buffers, which live and stay in place during the call, with
        // their true sizes; the kernel writes within them and into the headers.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        self.received = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (slot, header) in self.slots.iter_mut().zip(&headers[..self.received]) {
            slot.query_length = (header.msg_len as usize).min(QUERY_BYTES);
            slot.peer_length = header.msg_hdr.msg_namelen;
            slot.answer_length = 0;
        }
        Ok(self.received)
    }

    /// Calls `answer` for every packet with the query, its sender and room for the answer; it returns the answer's length,
    /// 0 for none.
    pub fn answer_each(&mut self, mut answer: impl FnMut(&[u8], &Peer<'_>, &mut [u8]) -> usize) {
        for slot in &mut self.slots[..self.received] {
            let peer = Peer(&slot.peer);
            slot.answer_length = answer(&slot.query[..slot.query_length], &peer, &mut slot.answer);
        }
    }

    /// Sends all answers. One that the kernel refuses (the client is gone, a rule forbids it) is left out.
    #[allow(unsafe_code, reason = "system call with pointers")]
    pub fn send(&mut self, socket: BorrowedFd<'_>) {
        let (mut headers, mut buffers) = blank();
        let mut count = 0;
        for slot in self.slots[..self.received].iter_mut().filter(|slot| slot.answer_length > 0) {
            buffers[count] =
                libc::iovec { iov_base: slot.answer.as_mut_ptr().cast(), iov_len: slot.answer_length };
            headers[count].msg_hdr.msg_name = (&raw mut slot.peer).cast();
            headers[count].msg_hdr.msg_namelen = slot.peer_length;
            headers[count].msg_hdr.msg_iov = &raw mut buffers[count];
            headers[count].msg_hdr.msg_iovlen = 1;
            count += 1;
        }
        let mut sent = 0;
        while sent < count {
            let rest = &mut headers[sent..count];
            // SAFETY: every header points to a slot's buffers of this batch with their true sizes; they live and stay in
            // place during the call, which only reads them.
            let result = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0)
            };
            match usize::try_from(result) {
                Ok(number) => sent += number.max(1),
                Err(_) if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                // The first of the rest is refused: the others may still go.
                Err(_) => sent += 1,
            }
        }
    }
}

/// The sender of a packet, read only when it is needed.
pub struct Peer<'a>(&'a libc::sockaddr_storage);

impl Peer<'_> {
    /// The address; `None` for a family that is not IP.
    #[allow(unsafe_code, reason = "reading a socket address by its family")]
    pub fn address(&self) -> Option<SocketAddr> {
        match i32::from(self.0.ss_family) {
            libc::AF_INET => {
                // SAFETY: the kernel filled the storage with a sockaddr_in, as its family says; storage is aligned for it.
                let address = unsafe { &*(&raw const *self.0).cast::<libc::sockaddr_in>() };
                let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
                Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
            }
            libc::AF_INET6 => {
                // SAFETY: as above, with a sockaddr_in6.
                let address = unsafe { &*(&raw const *self.0).cast::<libc::sockaddr_in6>() };
                let (ip, port) = (Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port));
                Some(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id).into())
            }
            _ => None,
        }
    }
}

#[allow(unsafe_code, reason = "all-zero C structures")]
fn blank() -> (Headers, Buffers) {
    // SAFETY: both are plain C structures of integers and pointers, for which all zero bytes are a valid value.
    unsafe { (MaybeUninit::zeroed().assume_init(), MaybeUninit::zeroed().assume_init()) }
}

#[allow(unsafe_code, reason = "all-zero C structure")]
fn zeroed_address() -> libc::sockaddr_storage {
    // SAFETY: a plain C structure of integers, for which all zero bytes are a valid value.
    unsafe { MaybeUninit::zeroed().assume_init() }
}
