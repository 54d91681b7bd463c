//! Netfilter's netlink as far as we speak it: attributes, messages, batches and the socket that carries them.
//!
//! A batch is one transaction of the kernel: all of its messages take effect at one moment or none does. It must fit
//! one send, so the socket says how much that is. Everything is synchronous and bounded in time; nothing here knows
//! what the messages mean. A reply that is cut short, damaged or ends with an error is an error, never half an answer.

mod attribute;
mod batch;
mod error;
mod faults;
mod listener;
pub(crate) mod replay;
mod socket;
mod wire;

pub(crate) use attribute::{Attributes, Writer};
pub(crate) use batch::{APPEND, Batch, CREATE, DUMP, Header, Received, messages, request};
pub use error::Error;
pub use faults::{Call, Faults};
pub(crate) use listener::Listener;
pub(crate) use socket::Socket;
pub use wire::Wire;
