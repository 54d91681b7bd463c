//! Tells the runner that a built-in program is listening: a container is reported running only then.

use std::os::fd::{FromRawFd, OwnedFd};

use crate::runner::protocol::READY_VARIABLE;

/// Closes the descriptor that the runner left open for this purpose; without one, does nothing.
#[allow(unsafe_code, reason = "the descriptor arrives by number")]
pub(super) fn announce() {
    let number = std::env::var(READY_VARIABLE).ok().and_then(|text| text.parse().ok());
    if let Some(number) = number.filter(|number| *number > 2) {
        // SAFETY: the variable is set by the runner only, for a descriptor that nothing else in this process
        // uses, and this runs once.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }
}

/// The environment as the container's author knows it.
pub(super) fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name != READY_VARIABLE)
}
