//! Errors of the helper: which step, on what, and the kernel's errno.

use std::io;

use super::protocol::Report;

/// A step that failed.
#[derive(Debug)]
pub(super) struct Failure {
    step: String,
    source: io::Error,
}

impl Failure {
    pub(super) fn new(step: impl Into<String>, source: io::Error) -> Self {
        Self { step: step.into(), source }
    }

    pub(super) fn into_report(self) -> Report {
        let errno = self.source.raw_os_error().unwrap_or(0);
        let reason = match errno {
            0 => self.source.to_string(),
            // Without std's "(os error 2)", as every container runtime prints it.
            errno => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
        };
        Report::Failed { step: self.step, errno, reason }
    }
}

/// Names the step of an `io` result.
pub(super) fn io<T>(step: impl Into<String>, result: io::Result<T>) -> Result<T, Failure> {
    result.map_err(|source| Failure::new(step, source))
}

/// Names the step of a `nix` result.
pub(super) fn errno<T>(step: impl Into<String>, result: nix::Result<T>) -> Result<T, Failure> {
    result.map_err(|errno| Failure::new(step, errno.into()))
}
