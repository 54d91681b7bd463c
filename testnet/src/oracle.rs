//! What a real kube-proxy makes of generated objects and packets, recorded, and the same asked of Sluice.
//!
//! ```text
//! random ─► objects ─► question      a set of Services and slices from a seed, and what to ask about it
//! site, node, packet                 a node of two wires, every packet put on them by hand and watched as it leaves
//! api, kube_proxy                    an API of our own making and the program that watches it, in the node's namespace
//! answer, recording                  what came of it, as text
//! scenario                           the scenarios' packets, asked in the same way
//! dns                                names instead of packets, and CoreDNS instead of kube-proxy
//! ```
//!
//! One node is enough: other nodes, their pods and the world outside are addresses behind its wires, so a set is asked
//! about without making a single pod. A packet is the first of a flow; nobody answers it. What leaves the node, with which
//! source and destination, or what comes back, is the answer.
//!
//! [`profile::Profile`]s are nodes configured in different ways. The generator is pure: a set is known by its seed, and
//! a recording holds a digest of its objects, so that one made by another generator is noticed.

pub mod answer;
mod api;
pub mod dns;
pub mod kube_proxy;
pub mod node;
pub mod objects;
mod packet;
pub mod profile;
pub mod question;
mod random;
pub mod recording;
pub mod scenario;
pub mod site;
