//! The user namespace in which an ordinary user is root over the namespaces that it makes.
//!
//! [`enter`] must run before the program has a second thread (the kernel refuses it afterwards). Root with the
//! needed capabilities stays where it is. [`probe()`] tries each thing that the embedded cluster needs, in a child
//! process, and names the remedy of what failed: some systems allow the user namespace and refuse the rest.

use std::{fs, io};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getegid, geteuid};

mod probe;

pub use probe::{CHILD, Check, probe, run_child};

/// Why an ordinary user cannot become root over namespaces of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused the user namespace.
    #[error("cannot create a user namespace; {}", remedy(source))]
    Create {
        /// The kernel's errno.
        #[source]
        source: io::Error,
    },
    /// A mapping could not be written.
    #[error(
        "cannot write {path} of the new user namespace; a security policy may forbid it \
         (AppArmor: sysctl kernel.apparmor_restrict_unprivileged_userns=0), or run as root"
    )]
    Map {
        /// The file below /proc/self.
        path: &'static str,
        /// The write's error.
        #[source]
        source: io::Error,
    },
    /// The process's own capabilities could not be read.
    #[error("cannot read the capabilities of this process from /proc/self/status")]
    Capabilities(#[source] io::Error),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::ENOSPC) => "raise sysctl user.max_user_namespaces (it is 0 or used up), or run as root",
        Some(libc::EPERM) => {
            "allow them (sysctl kernel.unprivileged_userns_clone=1 where it exists; in a container, a seccomp \
             profile that permits unshare), or run as root"
        }
        Some(libc::EINVAL) => "the program has threads already: this is a bug in its start-up",
        Some(libc::ENOSYS) => "this kernel was built without CONFIG_USER_NS: run as root",
        _ => "run as root",
    }
}

/// What [`enter`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Nothing: the process had the capabilities already.
    Privileged,
    /// It is now root in a user namespace of its own, and an ordinary user outside.
    UserNamespace,
}

/// CAP_NET_ADMIN and CAP_SYS_ADMIN (capabilities(7)).
const NEEDED: u64 = 1 << 12 | 1 << 21;

/// Enters a user namespace, with this user as its root, unless the process has CAP_SYS_ADMIN and CAP_NET_ADMIN.
///
/// # Errors
/// The step that was refused, with what to do about it.
pub fn enter() -> Result<Entry, Error> {
    if effective_capabilities().map_err(Error::Capabilities)? & NEEDED == NEEDED {
        return Ok(Entry::Privileged);
    }
    let (user, group) = (geteuid(), getegid());
    unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| Error::Create { source: errno.into() })?;
    // A group map may be written by its owner only after setgroups is given up for good (user_namespaces(7)).
    write("/proc/self/setgroups", "deny")?;
    write("/proc/self/uid_map", &format!("0 {user} 1"))?;
    write("/proc/self/gid_map", &format!("0 {group} 1"))?;
    Ok(Entry::UserNamespace)
}

fn write(path: &'static str, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::Map { path, source })
}

fn effective_capabilities() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}
