//! Becoming root over the namespaces that we make: root is already, an ordinary user enters a user namespace.

use anyhow::Context;

/// To be called before any thread exists. Afterwards the process may make network, mount and PID namespaces, and still
/// stands in the host's network namespace.
///
/// # Errors
/// Names the step that the kernel refused and what to do about it.
pub(crate) fn become_root() -> anyhow::Result<()> {
    pods::userns::enter().context("a cluster needs namespaces of its own")?;
    Ok(())
}
