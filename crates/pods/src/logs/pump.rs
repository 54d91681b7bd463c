//! From a container's pipes into its log file, until both ends are closed.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use super::{LogFile, Stream};

/// A longer line is written in pieces of this size, as container runtimes do.
const PIECE: usize = 16 * 1024;

/// Copies both pipes until the container (all of it) has closed them; then closes the log.
pub(crate) async fn pump(stdout: OwnedFd, stderr: OwnedFd, log: Arc<LogFile>) {
    let copies = tokio::join!(copy(stdout, Stream::Stdout, &log), copy(stderr, Stream::Stderr, &log));
    for error in [copies.0, copies.1].into_iter().filter_map(Result::err) {
        tracing::warn!(log = %log.path().display(), %error, "a container's output is no longer recorded");
    }
    log.close();
}

async fn copy(pipe: OwnedFd, stream: Stream, log: &LogFile) -> io::Result<()> {
    let mut receiver = pipe::Receiver::from_owned_fd(pipe)?;
    let mut buffer = Vec::with_capacity(1024);
    loop {
        if receiver.read_buf(&mut buffer).await? == 0 {
            break;
        }
        let rest = write_lines(&buffer, stream, log)?;
        buffer.drain(..rest);
    }
    if buffer.is_empty() { Ok(()) } else { log.append(stream, false, &buffer) }
}

/// Writes what is complete; returns how many bytes that were.
fn write_lines(buffer: &[u8], stream: Stream, log: &LogFile) -> io::Result<usize> {
    let mut done = 0;
    while let Some(length) = buffer[done..].iter().position(|byte| *byte == b'\n') {
        log.append(stream, true, &buffer[done..done + length])?;
        done += length + 1;
    }
    while buffer.len() - done >= PIECE {
        log.append(stream, false, &buffer[done..done + PIECE])?;
        done += PIECE;
    }
    Ok(done)
}
