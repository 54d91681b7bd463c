//! What can go wrong on a netlink socket.

use std::io;

/// The kernel answers within the call; a longer silence is a fault.
pub(super) const PATIENCE_SECONDS: i64 = 10;
/// A dump that a concurrent change interrupted is repeated this often.
pub(super) const DUMP_ATTEMPTS: u32 = 8;

/// Why the kernel could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call on the socket failed.
    #[error("netlink: cannot {step}")]
    Socket {
        /// What was tried.
        step: &'static str,
        /// The system's reason.
        #[source]
        cause: io::Error,
    },
    /// The kernel refused a message, and with it the whole transaction.
    #[error("netlink: the kernel refused {object}")]
    Refused {
        /// What the message was about.
        object: String,
        /// The kernel's reason.
        #[source]
        cause: io::Error,
    },
    /// What has to go in one transaction is more than one send carries.
    #[error(
        "netlink: {object} and what belongs to it take {bytes} bytes, and one transaction {limit} (net.core.wmem_max)"
    )]
    TooLarge {
        /// The first of it.
        object: String,
        /// Its size.
        bytes: usize,
        /// What the system allows.
        limit: usize,
    },
    /// A dump was interrupted by concurrent changes each time.
    #[error("netlink: the state changed under each of {DUMP_ATTEMPTS} attempts to read it")]
    Interrupted,
    /// The kernel did not say how a transaction ended.
    #[error("netlink: no acknowledgement within {PATIENCE_SECONDS} s")]
    Silent,
    /// A reply was cut off, or is none that the kernel makes.
    #[error("netlink: the reply about {object} is damaged")]
    Damaged {
        /// What was asked.
        object: String,
    },
}

impl Error {
    pub(super) fn socket(step: &'static str, cause: impl Into<io::Error>) -> Self {
        Self::Socket { step, cause: cause.into() }
    }

    /// A subscription could not be read.
    pub(crate) fn receiving(cause: io::Error) -> Self {
        Self::socket("read notifications", cause)
    }

    /// There is no pipe to be had.
    pub(crate) fn pipe(cause: io::Error) -> Self {
        Self::socket("make a pipe", cause)
    }

    pub(crate) fn refused(object: impl Into<String>, code: i32) -> Self {
        Self::Refused { object: object.into(), cause: io::Error::from_raw_os_error(code) }
    }

    pub(super) fn damaged(object: impl Into<String>) -> Self {
        Self::Damaged { object: object.into() }
    }

    /// The kernel's error number, if it gave one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Socket { cause, .. } | Self::Refused { cause, .. } => cause.raw_os_error(),
            Self::TooLarge { .. } | Self::Interrupted | Self::Silent | Self::Damaged { .. } => None,
        }
    }

    /// True when the kernel judged a message and found it wrong, or cannot be sent it: the same message will be refused
    /// again. Lack of memory, a lock that was held and a missing right are no judgement on the message.
    pub(crate) fn is_verdict(&self) -> bool {
        if matches!(self, Self::TooLarge { .. }) {
            return true;
        }
        let passing = [libc::ENOMEM, libc::ENOBUFS, libc::EAGAIN, libc::EINTR, libc::EBUSY, libc::EPERM];
        matches!(self, Self::Refused { .. }) && self.errno().is_some_and(|errno| !passing.contains(&errno))
    }
}
