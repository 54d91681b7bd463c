//! System calls that `nix` does not have: integer options of sockets, an interface's GRO, the processor time of a thread.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;
use nix::time::ClockId;

/// `SO_BUSY_POLL` and its companions (asm-generic/socket.h).
pub(super) const BUSY_POLL: libc::c_int = 46;
/// `SO_INCOMING_NAPI_ID`.
pub(super) const NAPI_ID: libc::c_int = 56;
/// `SO_PREFER_BUSY_POLL`.
pub(super) const PREFER_BUSY_POLL: libc::c_int = 69;
/// `SO_BUSY_POLL_BUDGET`.
pub(super) const BUSY_POLL_BUDGET: libc::c_int = 70;

/// Sets an option of level `SOL_SOCKET`.
#[allow(unsafe_code, reason = "nix does not know the option")]
pub(super) fn set(socket: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a local of the length that is said.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads an option of level `SOL_SOCKET`.
#[allow(unsafe_code, reason = "nix does not know the option")]
pub(super) fn get(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<libc::c_int> {
    let (mut value, mut length) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: both pointers are to locals of the sizes that are said.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// `struct ethtool_value` with ETHTOOL_SGRO.
#[repr(C)]
struct EthtoolValue {
    command: u32,
    data: u32,
}

/// Switches generic receive offload of an interface in this thread's network namespace. On a veth it makes the
/// driver ready to receive by NAPI (Linux 5.13), which XDP's sending wants of the peer. Packets of its own peer's sockets it takes that
/// way only when they cannot be cut late (`veth_skb_is_eligible_for_gro`).
#[allow(unsafe_code, reason = "an ioctl that nix does not have")]
pub(super) fn set_gro(interface: &str, on: bool) -> io::Result<()> {
    let socket = std::net::UdpSocket::bind(("127.0.0.1", 0))?;
    let mut value = EthtoolValue { command: 0x2c, data: u32::from(on) };
    // SAFETY: a plain C structure, for which all zero bytes are a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value that it points to are alive, and of the kind that the command wants.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Nanoseconds that a thread of this process has run; unlike /proc's figure this one is exact while it runs.
pub(super) fn thread_ns(thread: i32) -> f64 {
    /// CPUCLOCK_SCHED with CPUCLOCK_PERTHREAD_MASK, behind the thread's inverted number.
    const OF_THREAD: i32 = 6;
    let clock = ClockId::from_raw(!thread << 3 | OF_THREAD);
    clock.now().map_or(0.0, |time| time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64)
}
