//! What a real CoreDNS answers about generated objects, recorded, and the same asked of Sluice.
//!
//! ```text
//! objects ─► question          namespaces, Services, slices and pods from a seed; every name that exists or nearly does
//! profile                      Corefiles, the same text for both
//! coredns, upstream            the program on an API of our own making; the resolver behind `forward`
//! reply, recording             a whole answer as text; a file of those
//! ```
//!
//! All is on loopback, and needs no privileges. A set is known by its seed; a recording holds a digest of its objects and
//! questions, so that one made by another generator is noticed.

pub mod coredns;
pub mod objects;
pub mod profile;
pub mod question;
pub mod recording;
pub mod reply;
pub mod upstream;
