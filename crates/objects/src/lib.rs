//! The Kubernetes kinds that Sluice serves: how they are read, defaulted, validated and refused. No I/O.
//!
//! Everything works on `serde_json::Value` with the types of `k8s-openapi` as the schema, and is a pure function of its
//! arguments. Storage, admission and the HTTP surface are in `control-plane`.

pub mod status;
