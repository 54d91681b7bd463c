//! A network namespace for the rest of the process.

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

/// Becomes root over namespaces of its own: an ordinary user enters a user namespace. The process must still have
/// one thread only.
pub(crate) fn become_root() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        pods::userns::enter()
            .context("no user namespace; run as root, or allow unprivileged user namespaces")?;
    }
    Ok(())
}

/// Enters a new network namespace, as root over it.
pub(crate) fn enter() -> Result<()> {
    become_root()?;
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace")
}
