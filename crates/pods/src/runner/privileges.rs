//! Capabilities of a container: Docker's default set without MKNOD and AUDIT_WRITE.
//!
//! Without MKNOD because a real root could make the host's disks appear (the root file system forbids devices
//! too); nothing in a container here has use for the audit log.

use nix::errno::Errno;

/// Kept, by number (capabilities(7)): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
/// NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, SETFCAP.
const KEPT: [u32; 12] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 31];

/// `_LINUX_CAPABILITY_VERSION_3`: two 32-bit words per set.
const VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops all capabilities of the calling process but the kept ones, from every set.
pub(super) fn drop_to_container_default() -> nix::Result<()> {
    drop_from_bounding_set()?;
    let kept = KEPT.iter().fold(0, |bits, capability| bits | 1 << capability);
    set(kept)
}

/// The kernel answers EINVAL for the first capability that it does not know: the end of the list.
#[allow(unsafe_code, reason = "prctl has no safe form for this")]
fn drop_from_bounding_set() -> nix::Result<()> {
    for capability in (0..64).filter(|capability| !KEPT.contains(capability)) {
        // SAFETY: PR_CAPBSET_DROP takes an integer, no memory.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) }) {
            Ok(_) => {}
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// An empty inheritable set empties the ambient one too.
#[allow(unsafe_code, reason = "capset has no safe form in nix")]
fn set(kept: u32) -> nix::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    let none = Sets { effective: 0, permitted: 0, inheritable: 0 };
    let sets = [Sets { effective: kept, permitted: kept, inheritable: 0 }, none];
    // SAFETY: both pointers are to live, properly laid out structures of the version that the header names.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(drop)
}
