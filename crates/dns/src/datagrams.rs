//! `recvmmsg` and `sendmmsg` over buffers that are allocated once: the only unsafe code of the crate.
//!
//! Public because the measuring of the server (`bench`) must use the very same system calls.

mod grouping;

use std::io;
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use grouping::Plan;

/// Packets in one batch: beyond 16 nothing more is gained.
pub const BATCH: usize = 16;
/// Largest query taken: more than we say that we take. Larger datagrams are cut by the kernel and refused by the reader.
/// An odd number of cache lines, so that the beginnings of a batch's queries do not compete for the same sets.
const QUERY_BYTES: usize = 21 * 64;
/// Largest answer given over UDP, whatever the client says it can take.
const ANSWER_BYTES: usize = 4096;

/// A received packet, but for its bytes.
#[derive(Clone, Copy)]
struct Arrival {
    length: usize,
    peer_length: libc::socklen_t,
}

/// An answer: to which packet, and where its bytes are.
#[derive(Clone, Copy, Debug)]
struct Reply {
    to: usize,
    start: usize,
    length: usize,
}

/// A batch of packets with their answers. Answers stand one behind the other, so that small ones take little cache.
pub struct Batch {
    queries: Box<[[u8; QUERY_BYTES]]>,
    peers: Box<[libc::sockaddr_storage]>,
    arrivals: Vec<Arrival>,
    answers: Box<[u8]>,
    replies: Vec<Reply>,
    /// Whether answers to one peer leave as one message; unknown before the first is sent.
    together: Option<bool>,
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
    /// A batch whose answers leave one by one.
    #[must_use]
    pub fn new() -> Self {
        Self { together: Some(false), ..Self::grouping() }
    }

    /// A batch whose answers to one peer leave together, where the kernel can do that.
    #[must_use]
    pub fn grouping() -> Self {
        Self {
            together: None,
            queries: vec![[0; QUERY_BYTES]; BATCH].into(),
            peers: vec![zeroed_address(); BATCH].into(),
            arrivals: Vec::with_capacity(BATCH),
            // Room for the largest answers to all; pages that are never written cost nothing.
            answers: vec![0; BATCH * ANSWER_BYTES].into(),
            replies: Vec::with_capacity(BATCH),
        }
    }

    /// Waits for at least one packet and takes all that are there, up to a batch. With `wait` false it returns 0 when
    /// there is none.
    ///
    /// # Errors
    /// What `recvmmsg` reports, EINTR included.
    #[allow(unsafe_code, reason = "system call with pointers")]
    pub fn receive(&mut self, socket: BorrowedFd<'_>, wait: bool) -> io::Result<usize> {
        self.arrivals.clear();
        self.replies.clear();
        let (mut headers, mut buffers) = blank();
        let places = self.queries.iter_mut().zip(self.peers.iter_mut());
        for ((query, peer), (header, buffer)) in places.zip(headers.iter_mut().zip(&mut buffers)) {
            *buffer = libc::iovec { iov_base: query.as_mut_ptr().cast(), iov_len: QUERY_BYTES };
            header.msg_hdr.msg_name = (&raw mut *peer).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = buffer;
            header.msg_hdr.msg_iovlen = 1;
        }
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: every header points to its own buffers of this batch, which live and stay in place during the call,
        // with their true sizes; the kernel writes within them and into the headers.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                flags as _,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.arrivals.extend(headers.iter().take(count).map(|header| Arrival {
            length: (header.msg_len as usize).min(QUERY_BYTES),
            peer_length: header.msg_hdr.msg_namelen,
        }));
        Ok(count)
    }

    /// The packets received, and the answers to them, of which there are none yet.
    pub fn split(&mut self) -> (Received<'_>, Replies<'_>) {
        self.replies.clear();
        let Self { queries, peers, arrivals, answers, replies, .. } = self;
        (Received { queries, peers, arrivals }, Replies { answers, replies, used: 0 })
    }

    /// Calls `answer` for every packet with the query and room for the answer; it returns the answer's length, 0 for none.
    pub fn answer_each(&mut self, mut answer: impl FnMut(&[u8], &mut [u8]) -> usize) {
        let (received, mut replies) = self.split();
        for (index, packet) in (0..BATCH).map_while(|index| received.packet(index)).enumerate() {
            replies.write(index, |room| answer(packet, room));
        }
    }

    /// The packets that have an answer: each with its place in the batch, and the answer.
    pub fn answered(&self) -> impl Iterator<Item = (usize, &[u8])> + Clone {
        self.replies.iter().map(|reply| (reply.to, &self.answers[reply.start..reply.start + reply.length]))
    }

    /// The packets received.
    #[must_use]
    pub fn received(&self) -> Received<'_> {
        Received { queries: &self.queries, peers: &self.peers, arrivals: &self.arrivals }
    }

    /// Sends all answers. One that the kernel refuses (the client is gone, a rule forbids it) is left out.
    pub fn send(&mut self, socket: BorrowedFd<'_>) {
        let together = *self.together.get_or_insert_with(|| can_cut(socket));
        let (mut next, mut alone) = (0, if together { 0 } else { BATCH });
        while next < self.replies.len() {
            let plan = Plan::new(&self.replies, next, alone, |one, other| self.is_same_peer(one, other));
            match self.send_plan(socket, &plan) {
                Ok(count) => {
                    next += plan.groups().iter().take(count.max(1)).map(|group| group.count).sum::<usize>()
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => match plan.groups().first() {
                    Some(group) if group.count > 1 => {
                        // A device that cannot be given such messages refuses them all, other errors are the moment's.
                        let never = [libc::EINVAL, libc::EIO, libc::EOPNOTSUPP];
                        let together = !error.raw_os_error().is_some_and(|code| never.contains(&code));
                        self.together = Some(together);
                        alone = if together { next + group.count } else { BATCH };
                    }
                    // The first of the rest is refused: the others may still go.
                    _ => next += 1,
                },
            }
        }
    }

    fn is_same_peer(&self, one: usize, other: usize) -> bool {
        let bytes = |index: usize| address_bytes(&self.peers[index], self.arrivals[index].peer_length);
        bytes(one) == bytes(other)
    }

    /// Sends the messages of a plan; returns how many the kernel took.
    #[allow(unsafe_code, reason = "system call with pointers")]
    fn send_plan(&mut self, socket: BorrowedFd<'_>, plan: &Plan) -> io::Result<usize> {
        let (mut headers, mut buffers) = blank();
        let mut controls = [SegmentControl::new(); BATCH];
        for (buffer, number) in buffers.iter_mut().zip(plan.order).take(self.replies.len()) {
            let reply = self.replies[number];
            let bytes = &mut self.answers[reply.start..reply.start + reply.length];
            *buffer = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        }
        for (group, (header, control)) in plan.groups().iter().zip(headers.iter_mut().zip(&mut controls)) {
            let to = self.replies[plan.order[group.start]].to;
            header.msg_hdr.msg_name = (&raw mut self.peers[to]).cast();
            header.msg_hdr.msg_namelen = self.arrivals[to].peer_length;
            header.msg_hdr.msg_iov = &raw mut buffers[group.start];
            header.msg_hdr.msg_iovlen = group.count as _;
            if group.count > 1 {
                control.segment = group.segment as u16;
                header.msg_hdr.msg_control = (&raw mut *control).cast();
                header.msg_hdr.msg_controllen = size_of::<SegmentControl>() as _;
            }
        }
        let count = plan.groups().len();
        // SAFETY: every header points to buffers of this batch, an address and a control message with their true sizes,
        // a group's buffers being neighbours; all live and stay in place during the call, which only reads them.
        let result =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count as libc::c_uint, 0) };
        usize::try_from(result).map_err(|_| io::Error::last_os_error())
    }
}

/// The control message that says how long the datagrams of a message are (udp(7)).
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
}

impl SegmentControl {
    #[allow(unsafe_code, reason = "an all-zero C structure, which has private padding elsewhere")]
    fn new() -> Self {
        // SAFETY: a plain C structure of integers, for which all zero bytes are a valid value.
        let mut header: libc::cmsghdr = unsafe { MaybeUninit::zeroed().assume_init() };
        header.cmsg_len = (size_of::<libc::cmsghdr>() + size_of::<u16>()) as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        Self { header, segment: 0 }
    }
}

/// True when the kernel cuts messages (Linux 4.18). An older one does not know the control message and would send all
/// answers as one datagram.
#[allow(unsafe_code, reason = "system call with pointers")]
fn can_cut(socket: BorrowedFd<'_>) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to locals of the sizes that are said.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    result == 0
}

#[allow(unsafe_code, reason = "reading a socket address as bytes")]
fn address_bytes(address: &libc::sockaddr_storage, length: libc::socklen_t) -> &[u8] {
    let length = (length as usize).min(size_of::<libc::sockaddr_storage>());
    // SAFETY: plain bytes, all of them written (zero at first, then by the kernel), and no more than there are.
    unsafe { std::slice::from_raw_parts((&raw const *address).cast(), length) }
}

/// The packets of a batch.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    queries: &'a [[u8; QUERY_BYTES]],
    peers: &'a [libc::sockaddr_storage],
    arrivals: &'a [Arrival],
}

impl<'a> Received<'a> {
    /// A packet's bytes; `None` beyond the last.
    #[must_use]
    pub fn packet(&self, index: usize) -> Option<&'a [u8]> {
        self.arrivals.get(index).map(|arrival| &self.queries[index][..arrival.length])
    }

    /// A packet's sender; `None` for a family that is not IP.
    #[must_use]
    pub fn peer(&self, index: usize) -> Option<SocketAddr> {
        self.peers.get(index).and_then(address_of)
    }
}

/// The answers to a batch.
pub struct Replies<'a> {
    answers: &'a mut [u8],
    replies: &'a mut Vec<Reply>,
    used: usize,
}

impl Replies<'_> {
    /// Writes the answer to a packet: `answer` gets the room and returns its length, 0 for none.
    pub fn write(&mut self, to: usize, answer: impl FnOnce(&mut [u8]) -> usize) {
        let end = (self.used + ANSWER_BYTES).min(self.answers.len());
        let length = answer(&mut self.answers[self.used..end]);
        if length > 0 && self.replies.len() < BATCH {
            self.replies.push(Reply { to, start: self.used, length });
            self.used += length;
        }
    }
}

#[allow(unsafe_code, reason = "reading a socket address by its family")]
fn address_of(peer: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match i32::from(peer.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel filled the storage with a sockaddr_in, as its family says; storage is aligned for it.
            let address = unsafe { &*(&raw const *peer).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
            Some(SocketAddrV4::new(ip, u16::from_be(address.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above, with a sockaddr_in6.
            let address = unsafe { &*(&raw const *peer).cast::<libc::sockaddr_in6>() };
            let (ip, port) = (Ipv6Addr::from(address.sin6_addr.s6_addr), u16::from_be(address.sin6_port));
            Some(SocketAddrV6::new(ip, port, address.sin6_flowinfo, address.sin6_scope_id).into())
        }
        _ => None,
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
