//! `bpf(2)`: maps, programs, and links that hold a program on an interface for as long as their descriptor is open. So a
//! measurement that dies leaves nothing behind, and nothing is pinned.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, Result, bail};
use nix::libc;

use super::assembler::Instruction;

/// Room for what the verifier says about a program that it refuses.
const LOG_BYTES: usize = 1 << 16;
/// Bytes of every request here, those that are not used being zero.
const REQUEST_WORDS: usize = 10;

const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE: libc::c_long = 2;
const PROGRAM_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;

/// Where a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// In the driver, before there is a socket buffer.
    Xdp,
    /// At the beginning of the interface's way in, as `tc`'s clsact has it. By a link (tcx, Linux 6.6), which goes with
    /// its descriptor; the code that runs is the same.
    Tc,
}

impl Hook {
    /// BPF_PROG_TYPE_XDP or _SCHED_CLS, and BPF_XDP or BPF_TCX_INGRESS.
    fn numbers(self) -> (u32, u32) {
        match self {
            Self::Xdp => (6, 37),
            Self::Tc => (3, 46),
        }
    }
}

/// What a map is.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Hash = 1,
    XdpSockets = 17,
}

/// A new map.
pub(super) fn map(kind: Kind, key_bytes: usize, value_bytes: usize, entries: usize) -> Result<OwnedFd> {
    let mut request = [0; REQUEST_WORDS];
    request[0] = words(kind as u32, key_bytes as u32);
    request[1] = words(value_bytes as u32, entries as u32);
    descriptor(call(MAP_CREATE, &mut request)).context("no eBPF map")
}

/// Puts an entry into a map whose key and value have these sizes.
pub(super) fn put<const K: usize, const V: usize>(
    map: BorrowedFd<'_>,
    key: &[u8; K],
    value: &[u8; V],
) -> Result<()> {
    let mut request = [0; REQUEST_WORDS];
    request[0] = words(map.as_raw_fd() as u32, 0);
    request[1] = key.as_ptr().expose_provenance() as u64;
    request[2] = value.as_ptr().expose_provenance() as u64;
    call(MAP_UPDATE, &mut request).map(drop).context("an eBPF map takes no entry")
}

/// Has the verifier look at a program.
pub(super) fn load(hook: Hook, code: &[Instruction]) -> Result<OwnedFd> {
    let (kind, place) = hook.numbers();
    let mut log = vec![0_u8; LOG_BYTES];
    let mut request = [0; REQUEST_WORDS];
    request[0] = words(kind, code.len() as u32);
    request[1] = code.as_ptr().expose_provenance() as u64;
    request[2] = c"Apache-2.0".as_ptr().expose_provenance() as u64;
    request[3] = words(1, log.len() as u32);
    request[4] = log.as_mut_ptr().expose_provenance() as u64;
    request[8] = words(0, place);
    let result = call(PROGRAM_LOAD, &mut request);
    let end = log.iter().position(|byte| *byte == 0).unwrap_or_default();
    let said = String::from_utf8_lossy(&log[..end]);
    match descriptor(result) {
        Ok(program) => Ok(program),
        Err(error) if said.is_empty() => Err(error).context("no eBPF program may be loaded"),
        Err(error) => bail!("the verifier refuses a program: {error}\n{said}"),
    }
}

/// Holds a program on an interface of this thread's network namespace.
pub(super) fn attach(hook: Hook, program: BorrowedFd<'_>, interface: u32) -> Result<OwnedFd> {
    /// XDP_FLAGS_DRV_MODE: the driver's own hook, or an error.
    const DRIVER: u32 = 1 << 2;
    let mut request = [0; REQUEST_WORDS];
    request[0] = words(program.as_raw_fd() as u32, interface);
    request[1] = words(hook.numbers().1, if hook == Hook::Xdp { DRIVER } else { 0 });
    descriptor(call(LINK_CREATE, &mut request))
        .with_context(|| format!("no {hook:?} program on interface {interface}"))
}

/// Two neighbouring 32-bit fields.
fn words(first: u32, second: u32) -> u64 {
    let [a, b] = [first.to_ne_bytes(), second.to_ne_bytes()];
    u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
}

#[allow(unsafe_code, reason = "bpf(2) has no safe form")]
fn call(command: libc::c_long, request: &mut [u64; REQUEST_WORDS]) -> io::Result<RawFd> {
    // SAFETY: the request is as long as is said; what it points to is alive in the caller, and as long as the request
    // or the map's sizes say.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, request.as_mut_ptr(), size_of_val(request)) };
    RawFd::try_from(result).ok().filter(|result| *result >= 0).ok_or_else(io::Error::last_os_error)
}

#[allow(unsafe_code, reason = "a raw descriptor from a system call")]
fn descriptor(result: io::Result<RawFd>) -> io::Result<OwnedFd> {
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows it.
    result.map(|raw| unsafe { OwnedFd::from_raw_fd(raw) })
}
