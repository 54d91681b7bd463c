//! The Kubernetes objects that Sluice serves: which kinds there are, how their bytes are decoded, defaulted, validated,
//! selected and patched, and the Status errors that refuse them.
//!
//! Pure: no I/O, no clock, no async. Works on `serde_json::Value` where the shape must survive unchanged (patching,
//! storing) and on the types of `k8s-openapi` where rules are checked.

pub mod decode;
pub mod defaults;
pub mod duration;
pub mod manifest;
pub mod protobuf;
pub mod quantity;
pub mod resource;
pub mod schema;
pub mod selector;
pub mod status;
pub mod strategic_merge;
pub mod validate;
