//! Only the cluster reaches a ClusterIP. The host's own namespace has no route for it but the ordinary way out, which
//! is looked up and never used; a namespace beside the cluster has none at all.

use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sched::{CloneFlags, unshare};

/// Tries to connect to port 80 of `address` from a fresh network namespace; what comes of it, in words. Nothing can
/// leave that namespace.
pub(crate) fn connect_from_beside(address: Ipv4Addr) -> anyhow::Result<String> {
    // A thread of its own: who entered a namespace as an ordinary user cannot come back.
    let attempt = std::thread::spawn(move || -> anyhow::Result<String> {
        unshare(CloneFlags::CLONE_NEWNET).context("making a namespace beside the cluster")?;
        match TcpStream::connect_timeout(&(address, 80).into(), LIMIT) {
            Ok(_) => bail!("it connected"),
            Err(error) => Ok(error.to_string()),
        }
    });
    attempt.join().map_err(|_| anyhow::anyhow!("the attempt broke off"))?
}

/// How long the attempt may take.
const LIMIT: Duration = Duration::from_secs(1);
