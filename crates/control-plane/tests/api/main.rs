//! The API server over real TLS on loopback, driven by kube and by real kubectl.

mod kubectl;
mod lists;
mod node;
mod persistence;
mod server;
mod watches;
mod writes;
