//! Netfilter's netlink as far as we speak it: attributes, messages, batches and the socket that carries them.
//!
//! A batch is one transaction of the kernel: all of its messages take effect at one moment or none does. It must fit
//! one send, so the socket says how much that is. Everything is synchronous and bounded in time; nothing here knows
//! what the messages mean.

mod attribute;
mod batch;
mod faults;
mod socket;

pub(crate) use attribute::{Attributes, Writer};
#[cfg(test)]
pub(crate) use batch::messages;
pub(crate) use batch::{APPEND, Batch, CREATE, DUMP, Header, Received, request};
pub use faults::{Call, Faults};
pub use socket::Error;
pub(crate) use socket::Socket;
