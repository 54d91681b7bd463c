//! Test bed: clusters of namespaces, and the scenarios that are Sluice's specification.
//!
//! ```text
//! scenario   a file: objects, steps, what every stage must show      judge     one judge for each stage
//! cluster    wire, nodes, pods, real clients and servers             harness   `cargo test`'s output for an own `main`
//! oracle     what a real kube-proxy and a real CoreDNS make of generated objects, recorded
//! peers      a real etcd and kube-apiserver            companion   programs beside a test, and their folders
//! ```
//!
//! Any crate's tests may use it: [`cluster::Cluster`] is a network of nodes and pods in a few lines, with
//! [`judge::plane::Plane`] on its nodes it forwards. Nothing here is linked into the product. What needs a namespace runs
//! on a thread of its own that entered it; no thread ever changes its namespace back.

pub mod cluster;
mod companion;
pub mod harness;
pub mod judge;
pub mod oracle;
pub mod peers;
pub mod scenario;
