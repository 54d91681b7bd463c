//! The embedded control plane: a Kubernetes-compatible API server over a small store, and the controllers that make
//! objects follow each other.
//!
//! [`ControlPlane::open`] reads or makes the state, [`ControlPlane::serve`] answers on a listener,
//! [`ControlPlane::client`] is the same API without a socket. It touches no network namespace: nodes are reached through
//! the [`NodeDialer`] that the caller hands in.

pub mod authority;
pub mod controllers;
pub mod error;
pub mod http;

mod admission;
mod control_plane;
mod metadata;
mod store;
mod tables;

pub use authority::{Authority, Identity};
pub use control_plane::{Config, ControlPlane, NodeDialer};
pub use error::Error;
