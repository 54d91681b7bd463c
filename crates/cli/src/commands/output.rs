//! Where verbs write: standard output, and remarks on standard error.
//!
//! A reader that has gone (`sluice get pods | head -1`) ends the verb quietly instead of with a panic.

use std::io::{self, IsTerminal, Write};

use super::failure::Failure;

/// Writes text to standard output as it is.
pub(crate) fn write(text: &str) -> Result<(), Failure> {
    write_bytes(text.as_bytes())
}

/// Writes bytes to standard output and hands them on at once.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|_| Failure::Closed)
}

/// Writes a line to standard output.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    write(&format!("{text}\n"))
}

/// Writes a remark to standard error; one that cannot be written is nothing to fail for.
pub(crate) fn remark(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Writes a server's warning as kubectl does, the word coloured on a terminal.
pub(crate) fn warning(text: &str) {
    let colour = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    if colour {
        remark(&format!("\u{1b}[33;1mWarning:\u{1b}[0m {text}"));
    } else {
        remark(&format!("Warning: {text}"));
    }
}
