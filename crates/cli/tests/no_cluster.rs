//! What the verbs say where no cluster runs. Clusters are found by their traces in a folder of the user: an ordinary
//! user gets an empty one here; root's is always `/run/sluice`, so beside a cluster of root this cannot be seen.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use testnet::harness;

/// An empty folder, removed with the value.
struct Empty(PathBuf);

impl Drop for Empty {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn main() -> ExitCode {
    harness::run(testnet::trials![without_a_cluster_the_way_to_one_is_told])
}

fn without_a_cluster_the_way_to_one_is_told() {
    let empty = Empty(std::env::temp_dir().join(format!("sluice-no-cluster-{}", std::process::id())));
    std::fs::create_dir(&empty.0).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["get", "namespaces"]).env("HOME", "/nonexistent").env_remove("KUBECONFIG");
    let told = command.env("XDG_RUNTIME_DIR", &empty.0).output().unwrap();
    if nix::unistd::geteuid().is_root() && told.stdout.starts_with(b"NAME") {
        harness::skip("a cluster of `sluice up` runs on this machine, and the verbs found it");
    }
    let complaint = String::from_utf8_lossy(&told.stderr);
    assert!(complaint.contains("start one with `sluice up`"), "{told:?}");
    assert_eq!(told.status.code(), Some(1), "{told:?}");
}
