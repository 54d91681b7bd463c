//! Copies of mount trees: `open_tree`, `mount_setattr`, `move_mount` (kernel 5.12).
//!
//! Not `mount --bind -o ro`: in a user namespace that fails with EINVAL where the tree has locked submounts, and
//! leaves those submounts writable where it does not fail.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;

use super::super::step::{self, Failure};

/// A detached copy of a folder or file with everything mounted below it.
pub(super) struct Tree {
    handle: OwnedFd,
    source: String,
}

/// `struct mount_attr` of the kernel.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

const MOUNT_ATTR_RDONLY: u64 = 1;
const MOUNT_ATTR_NOSUID: u64 = 2;
const MOUNT_ATTR_NODEV: u64 = 4;

/// Nothing below can be written, no set-user-ID takes effect, no device opens.
pub(super) const READ_ONLY: Attributes = attributes(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);

/// The same, writable.
pub(super) const WRITABLE: Attributes = attributes(MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);

/// A device: read and write, and it must open.
pub(super) const DEVICE: Attributes = attributes(MOUNT_ATTR_NOSUID);

const fn attributes(set: u64) -> Attributes {
    Attributes { set, clear: 0, propagation: 0, user_namespace: 0 }
}

const OPEN_TREE_CLONE: libc::c_int = 1;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_int = 4;

/// Copies the tree at `source`, in this mount namespace.
#[allow(unsafe_code, reason = "open_tree has no safe form")]
pub(super) fn clone(source: &Path) -> Result<Tree, Failure> {
    let name = source.display().to_string();
    let step = format!("open_tree {name}");
    let path =
        CString::new(source.as_os_str().as_bytes()).map_err(|error| Failure::new(&step, error.into()))?;
    let flags = OPEN_TREE_CLONE | libc::O_CLOEXEC | libc::AT_RECURSIVE;
    // SAFETY: the path is a live C string; the call returns a new descriptor that nobody else owns.
    let handle = unsafe {
        let result = libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags);
        OwnedFd::from_raw_fd(step::errno(step, Errno::result(result))? as i32)
    };
    Ok(Tree { handle, source: name })
}

/// Sets the attributes on all of the tree and puts it onto `target`, relative to the current folder.
#[allow(unsafe_code, reason = "mount_setattr and move_mount have no safe form")]
pub(super) fn attach(tree: &Tree, target: &str, attributes: Attributes) -> Result<(), Failure> {
    let handle = tree.handle.as_raw_fd();
    let step = format!("mount_setattr {}", tree.source);
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: an empty C string and a live structure of the size that is passed.
    let result = unsafe {
        let size = size_of::<Attributes>();
        libc::syscall(libc::SYS_mount_setattr, handle, c"".as_ptr(), flags, &raw const attributes, size)
    };
    step::errno(step, Errno::result(result))?;
    let step = format!("move_mount {} to {target}", tree.source);
    let path = CString::new(target).map_err(|error| Failure::new(&step, error.into()))?;
    let (from, flags) = (c"".as_ptr(), MOVE_MOUNT_F_EMPTY_PATH);
    // SAFETY: two live C strings and a descriptor that is open.
    let result =
        unsafe { libc::syscall(libc::SYS_move_mount, handle, from, libc::AT_FDCWD, path.as_ptr(), flags) };
    step::errno(step, Errno::result(result)).map(drop)
}
