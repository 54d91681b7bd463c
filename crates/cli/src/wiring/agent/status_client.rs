//! Asks the agent of the network namespace that we are in: `sluice dump`, `sluice trace`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, bail};

use super::HEALTHZ_PORT as PORT;

/// How long the agent may take; a dump of 10,000 services takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// True when there is one.
pub(crate) fn answers() -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).is_ok()
}

/// The body of its answer; what it says instead of one is the error.
pub(crate) fn ask(path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, PORT)).with_context(|| {
        format!("no agent answers on 127.0.0.1:{PORT}; name a node with --node, or start `sluice agent`")
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").context("asking the agent")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("reading the agent's answer")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the agent's answer breaks off")?;
    if head.split(' ').nth(1) != Some("200") {
        bail!("{}", body.trim());
    }
    Ok(body.to_owned())
}
