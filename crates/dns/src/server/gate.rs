//! Holds the UDP threads of a server that is not to answer yet.
//!
//! A socket joins those that share its port with `bind`, and steps aside only after that: what the kernel gave it in between
//! waits in the socket until there is a true answer to it.

use std::sync::{Condvar, Mutex, PoisonError};

/// Closed until it is opened, once and for all.
#[derive(Debug)]
pub(super) struct Gate {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    pub(super) fn new(is_open: bool) -> Self {
        Self { is_open: Mutex::new(is_open), opened: Condvar::new() }
    }

    pub(super) fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    /// Returns when it is open.
    pub(super) fn pass(&self) {
        let is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.opened.wait_while(is_open, |is_open| !*is_open).unwrap_or_else(PoisonError::into_inner));
    }
}
