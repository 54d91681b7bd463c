//! Test bed: clusters of namespaces, and the scenarios that are Sluice's specification.
//!
//! [`scenario`] reads a scenario file, [`judge`] holds one judge for each stage that can be asked about it.
//!
//! Nothing here is linked into the product. What needs a namespace runs on a thread of its own that entered it; no
//! thread ever changes its namespace back.

pub mod cluster;
pub mod harness;
pub mod judge;
pub mod scenario;
