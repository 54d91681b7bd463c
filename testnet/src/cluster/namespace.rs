//! A network namespace as a handle: it lives as long as the handle, and work in it runs on a thread of its own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use pods::namespace::{self, on_own_thread};

use super::Error;

/// A namespace that work can be done in.
#[derive(Clone, Debug)]
pub struct Namespace {
    owner: String,
    handle: Arc<OwnedFd>,
}

impl Namespace {
    /// Runs `work` on a thread of its own that stands in this namespace, and waits for it.
    ///
    /// # Errors
    /// The namespace cannot be entered, or the work panicked.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let handle = Arc::clone(&self.handle);
        let inside = move || namespace::enter_network(handle.as_fd()).map(|()| work());
        on_own_thread(inside).and_then(|result| result).map_err(|source| self.failed(source))
    }

    /// The handle that keeps it alive.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// A fresh namespace, with nothing in it but a loopback interface that is down. `owner` is for messages.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn create(owner: &str) -> Result<Self, Error> {
        let made = on_own_thread(namespace::enter_new_network).and_then(|result| result);
        let handle = made.map_err(|source| Error::Namespace { owner: owner.to_owned(), source })?;
        Ok(Self { owner: owner.to_owned(), handle: Arc::new(handle) })
    }

    /// The one in which the calling thread stands. `owner` is for messages.
    ///
    /// # Errors
    /// No handle can be had.
    pub fn current(owner: &str) -> Result<Self, Error> {
        let handle = namespace::own_network();
        let handle = handle.map_err(|source| Error::Namespace { owner: owner.to_owned(), source })?;
        Ok(Self::of(owner.to_owned(), handle))
    }

    /// One that exists.
    pub(super) fn of(owner: String, handle: OwnedFd) -> Self {
        Self { owner, handle: Arc::new(handle) }
    }

    pub(super) fn owner(&self) -> &str {
        &self.owner
    }

    /// The handle, for a thread that outlives this one's use.
    pub(super) fn handle(&self) -> &Arc<OwnedFd> {
        &self.handle
    }

    fn failed(&self, source: namespace::Error) -> Error {
        Error::Namespace { owner: self.owner.clone(), source }
    }

    /// Runs a step of the network's set-up.
    pub(super) fn set_up<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, pods::network::Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.run(work)?.map_err(|source| Error::Network { owner: self.owner.clone(), source })
    }
}
