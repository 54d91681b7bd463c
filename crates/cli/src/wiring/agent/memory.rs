//! What a cold load needs beside what it leaves (objects as they came, one large plan) goes back to the system.

/// Gives back freed memory. The allocator keeps what lies between live objects, which is a tenth of the process after a
/// cold load; elsewhere than with glibc it does as it likes.
#[allow(unsafe_code, reason = "the allocator has no other way to be asked")]
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes the allocator's own locks, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
