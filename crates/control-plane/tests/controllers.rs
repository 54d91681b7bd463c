//! The controllers against a live API: this crate's own server in process, or any other one.
//!
//! `SLUICE_TEST_KUBECONFIG=FILE cargo test -p control-plane --test controllers -- --test-threads=1` runs the
//! same tests against the API server of that file (one without kube-controller-manager), to see that the
//! controllers rest on nothing that only our server does.

#[path = "controllers/endpoints.rs"]
mod endpoints;
#[path = "controllers/lab.rs"]
mod lab;
#[path = "controllers/lifecycle.rs"]
mod lifecycle;
#[path = "controllers/workloads.rs"]
mod workloads;
