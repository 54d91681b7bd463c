//! What can go wrong between us and the kernel.

use crate::netlink;

/// A failed step of the reconciler.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No plane can be opened here.
    #[error("nftables cannot be used in this network namespace; run `sluice check`")]
    Open(#[source] netlink::Error),
    /// The table belongs to another process.
    #[error(
        "table {family} sluice is owned by another process: is another sluice agent running on this node?"
    )]
    Owned {
        /// The family as nft calls it.
        family: &'static str,
        /// What the kernel said.
        #[source]
        cause: netlink::Error,
    },
    /// The kernel's state could not be read.
    #[error("reading table {family} sluice back failed")]
    Read {
        /// The family as nft calls it.
        family: &'static str,
        /// What the kernel said.
        #[source]
        cause: netlink::Error,
    },
    /// A transaction failed.
    #[error("writing table {family} sluice failed")]
    Write {
        /// The family as nft calls it.
        family: &'static str,
        /// What the kernel said.
        #[source]
        cause: netlink::Error,
    },
    /// Others' edits of our tables cannot be noticed.
    #[error("changes that others make to table sluice cannot be heard")]
    Monitor(#[source] netlink::Error),
}
