//! The signals that ask a program in the foreground to stop: Ctrl-C, SIGTERM, and SIGHUP when its terminal is closed.
//!
//! A SIGHUP that the parent had ignored (`nohup`) stays ignored. What stopping means is the caller's business.

use std::process::ExitCode;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from its making on: none of the signals ends the program by itself any more.
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl StopSignals {
    /// Starts listening.
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let open = |kind| signal(kind).context("listening for the signals that stop the program");
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let hangup = (!ignores_hangup(&status)).then(|| open(SignalKind::hangup())).transpose()?;
        Ok(Self {
            interrupt: open(SignalKind::interrupt())?,
            terminate: open(SignalKind::terminate())?,
            hangup,
        })
    }

    /// Resolves at the first of them, with the exit code of a program that it cut short (128 and its number).
    pub(crate) async fn wait(&mut self) -> ExitCode {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => ExitCode::from(130),
            _ = self.terminate.recv() => ExitCode::from(143),
            _ = hangup => ExitCode::from(129),
        }
    }
}

/// Bit 0 of `SigIgn` in proc's status: signal 1.
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nohup_is_seen() {
        assert!(ignores_hangup("Name:\tsluice\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n"));
        assert!(!ignores_hangup("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!ignores_hangup(""));
    }
}
