//! Kernel calls that fail on purpose: the seam for tests that a plane converges whatever the kernel does.
//!
//! Nothing in the product makes one. A fault is put where the kernel's own come from, so what it leaves behind (all of
//! a transaction, or nothing) is what a real one leaves.

use std::fmt;

/// A call that may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// Sending a transaction: nothing of it takes effect.
    Send,
    /// Reading how a transaction ended: it has taken effect.
    Verdict,
    /// Reading the kernel's state.
    Dump,
}

/// Decides which calls fail.
pub trait Faults: Send + fmt::Debug {
    /// The error number with which this call fails (`libc::ENOBUFS` …), `None` to let it through.
    fn strike(&mut self, call: Call) -> Option<i32>;

    /// The error number with which the kernel refuses a message about `object`, and with it the whole transaction.
    fn refuse(&mut self, object: &str, message: &[u8]) -> Option<i32> {
        let _ = (object, message);
        None
    }
}
