//! An AF_XDP socket on the queue of an interface, in copy mode: a veth has no other. An XDP program diverts queries to it.
//!
//! A frame of the shared memory goes round: the kernel fills it with a query, the echo turns it round in place and hands it
//! back to be sent, and when it has been sent it is free to be filled again. All four rings have room for all frames, so
//! none is ever full.

mod ring;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use ring::{Mapping, Ring};

/// Frames, and their size.
const FRAMES: usize = 512;
const FRAME_BYTES: usize = 2048;
/// How long an interface's queue may be busy.
const BUSY_MAX: Duration = Duration::from_secs(1);

/// The socket with its memory.
pub(super) struct XdpSocket {
    socket: OwnedFd,
    frames: Mapping,
    received: Ring<libc::xdp_desc>,
    sent: Ring<libc::xdp_desc>,
    free: Ring<u64>,
    done: Ring<u64>,
}

impl XdpSocket {
    /// On the first queue of an interface of this thread's namespace.
    pub(super) fn open(interface: u32) -> Result<Self> {
        let socket = raw_socket().context("no AF_XDP socket")?;
        let frames = Mapping::anonymous(FRAMES * FRAME_BYTES).context("no memory for frames")?;
        set(&socket, libc::XDP_UMEM_REG, &registration(&frames)).context("frames are not registered")?;
        for ring in
            [libc::XDP_UMEM_FILL_RING, libc::XDP_UMEM_COMPLETION_RING, libc::XDP_RX_RING, libc::XDP_TX_RING]
        {
            set(&socket, ring, &(FRAMES as libc::c_int)).context("no ring")?;
        }
        let offsets = offsets(&socket).context("the rings' layout is not told")?;
        let fd = socket.as_fd();
        let mut this = Self {
            received: Ring::map(fd, libc::XDP_PGOFF_RX_RING as u64, &offsets.rx, FRAMES)?,
            sent: Ring::map(fd, libc::XDP_PGOFF_TX_RING as u64, &offsets.tx, FRAMES)?,
            free: Ring::map(fd, libc::XDP_UMEM_PGOFF_FILL_RING, &offsets.fr, FRAMES)?,
            done: Ring::map(fd, libc::XDP_UMEM_PGOFF_COMPLETION_RING, &offsets.cr, FRAMES)?,
            frames,
            socket,
        };
        this.free.push((0..FRAMES).map(|frame| (frame * FRAME_BYTES) as u64));
        bind_in_time(&this.socket, interface).context("the AF_XDP socket does not bind in copy mode")?;
        Ok(this)
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends what is there back; returns how many.
    pub(super) fn echo(&mut self) -> usize {
        let mut turned = Vec::with_capacity(FRAMES);
        while let Some(frame) = self.received.pop() {
            turn_round(self.frames.bytes(frame.addr as usize, frame.len as usize));
            turned.push(frame);
        }
        let count = turned.len();
        if count > 0 {
            self.sent.push(turned.into_iter());
            self.kick();
            while let Some(frame) = self.done.pop() {
                // The fill ring takes a frame's beginning in any case; the kernel leaves its own room in front.
                self.free.push(std::iter::once(frame));
            }
        }
        count
    }

    /// Waits for a query, for so long at most.
    pub(super) fn wait(&self, time: Duration) {
        let time = PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO);
        // An interruption is as good as the end of the time.
        let _ = poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], time);
    }

    /// Has the kernel send: a few dozen at a call.
    #[allow(unsafe_code, reason = "sendto without data")]
    fn kick(&self) {
        while !self.sent.is_taken() {
            // SAFETY: there are no data and no address.
            let result = unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    std::ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null(),
                    0,
                )
            };
            let again = [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS, libc::EINTR];
            if result < 0
                && !io::Error::last_os_error().raw_os_error().is_some_and(|code| again.contains(&code))
            {
                return;
            }
        }
    }
}

/// Exchanges a frame's addresses and ports and leaves the UDP checksum out.
fn turn_round(frame: &mut [u8]) {
    if frame.len() >= 42 {
        let (front, rest) = frame.split_at_mut(6);
        front.swap_with_slice(&mut rest[..6]);
        let (front, rest) = frame.split_at_mut(30);
        front[26..].swap_with_slice(&mut rest[..4]);
        let (front, rest) = frame.split_at_mut(36);
        front[34..].swap_with_slice(&mut rest[..2]);
        frame[40..42].fill(0);
    }
}

fn registration(frames: &Mapping) -> libc::xdp_umem_reg {
    libc::xdp_umem_reg {
        addr: frames.address(),
        len: (FRAMES * FRAME_BYTES) as u64,
        chunk_size: FRAME_BYTES as u32,
        headroom: 0,
        flags: 0,
        tx_metadata_len: 0,
    }
}

#[allow(unsafe_code, reason = "nix does not know AF_XDP")]
fn raw_socket() -> io::Result<OwnedFd> {
    // SAFETY: no pointers; a descriptor that is returned is ours alone.
    unsafe {
        let raw = libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if raw < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(raw)) }
    }
}

#[allow(unsafe_code, reason = "nix does not know AF_XDP")]
fn set<T>(socket: &OwnedFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: the pointer is to a value of the length that is said, which the call only reads.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_XDP, option, std::ptr::from_ref(value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[allow(unsafe_code, reason = "nix does not know AF_XDP")]
fn offsets(socket: &OwnedFd) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: a plain C structure of integers, for which all zero bytes are a valid value.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::xdp_mmap_offsets>() as libc::socklen_t;
    // SAFETY: both pointers are to locals of the sizes that are said.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(offsets) } else { Err(io::Error::last_os_error()) }
}

/// A queue is free some time after its last socket was closed: the kernel waits for readers first.
fn bind_in_time(socket: &OwnedFd, interface: u32) -> io::Result<()> {
    let start = Instant::now();
    loop {
        match bind(socket, interface) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < BUSY_MAX => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

#[allow(unsafe_code, reason = "nix does not know AF_XDP")]
fn bind(socket: &OwnedFd, interface: u32) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: libc::AF_XDP as u16,
        sxdp_flags: libc::XDP_COPY,
        sxdp_ifindex: interface,
        sxdp_queue_id: 0,
        sxdp_shared_umem_fd: 0,
    };
    let length = size_of::<libc::sockaddr_xdp>() as libc::socklen_t;
    // SAFETY: the address is alive and of the length that is said.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
