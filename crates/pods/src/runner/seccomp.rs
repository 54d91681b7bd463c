//! A small system call filter: what a container has no use for and an escape would start with.
//!
//! Capabilities forbid most of it already. The filter closes what they leave open: new user namespaces (in which
//! a process has all capabilities again), kernel keyrings (not namespaced), and code paths that have been holes
//! before (io_uring, bpf, userfaultfd, perf). Refused calls give EPERM; `clone3` gives ENOSYS, because its flags
//! cannot be inspected, and libraries then fall back to `clone`. Calls of another architecture are refused.

use nix::errno::Errno;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_003E;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_00B7;

/// x32 calls share x86_64's architecture number and carry this bit; elsewhere no call number is so large.
const X32_BIT: u32 = 0x4000_0000;

/// Refused whatever their arguments.
const REFUSED: [libc::c_long; 31] = [
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
];

/// Namespace flags of clone(2): NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET.
const NEW_NAMESPACES: u32 = 0x7E02_0000;

/// Byte offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// Opcodes of classic BPF: load a word, compare, mask, jump by bits, return.
const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const JUMP_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const ALLOW: u32 = 0x7FFF_0000;
const REFUSE: u32 = 0x0005_0000;

const fn instruction(code: u16, k: u32, jump_true: u8, jump_false: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: jump_true, jf: jump_false, k }
}

/// Installs the filter for this process and its descendants; needs no_new_privs.
///
/// # Errors
/// The kernel's refusal (EINVAL: built without CONFIG_SECCOMP_FILTER).
#[allow(unsafe_code, reason = "seccomp has no safe form")]
pub(super) fn install() -> nix::Result<()> {
    let mut filter = program();
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its instructions live until the call returns; the kernel copies and verifies them.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(result).map(drop)
}

fn program() -> Vec<libc::sock_filter> {
    let refuse = |errno: i32| instruction(RETURN, REFUSE | errno as u32, 0, 0);
    let mut filter = vec![
        instruction(LOAD, ARCH, 0, 0),
        instruction(JUMP_EQUAL, ARCHITECTURE, 1, 0),
        refuse(libc::EPERM),
        instruction(LOAD, NUMBER, 0, 0),
        instruction(JUMP_GREATER_OR_EQUAL, X32_BIT, 0, 1),
        refuse(libc::EPERM),
    ];
    for call in REFUSED {
        filter.push(instruction(JUMP_EQUAL, call as u32, 0, 1));
        filter.push(refuse(libc::EPERM));
    }
    filter.push(instruction(JUMP_EQUAL, libc::SYS_clone3 as u32, 0, 1));
    filter.push(refuse(libc::ENOSYS));
    // AF_VSOCK leads to the hypervisor, past every network namespace; AF_ALG has been a hole before.
    filter.push(instruction(JUMP_EQUAL, libc::SYS_socket as u32, 0, 5));
    filter.push(instruction(LOAD, FIRST_ARGUMENT, 0, 0));
    filter.push(instruction(JUMP_EQUAL, libc::AF_VSOCK as u32, 1, 0));
    filter.push(instruction(JUMP_EQUAL, libc::AF_ALG as u32, 0, 1));
    filter.push(refuse(libc::EPERM));
    filter.push(instruction(LOAD, NUMBER, 0, 0));
    filter.push(instruction(JUMP_EQUAL, libc::SYS_clone as u32, 0, 3));
    filter.push(instruction(LOAD, FIRST_ARGUMENT, 0, 0));
    filter.push(instruction(JUMP_ANY_BIT, NEW_NAMESPACES, 0, 1));
    filter.push(refuse(libc::EPERM));
    filter.push(instruction(RETURN, ALLOW, 0, 0));
    filter
}
