//! Parameters below `/proc/sys/net`, which shows the calling thread's network namespace.

use std::{fs, io};

use super::Error;

/// Writes `value` to `/proc/sys/<path>`.
pub(crate) fn set(path: &str, value: &'static str) -> Result<(), Error> {
    write(path, value).map_err(|source| Error::Sysctl { path: format!("/proc/sys/{path}"), value, source })
}

/// The same; a parameter that this kernel does not have is left alone.
pub(crate) fn set_if_present(path: &str, value: &'static str) -> Result<(), Error> {
    match set(path, value) {
        Err(Error::Sysctl { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// A value that is right already is not written: some containers mount `/proc/sys` read-only.
fn write(path: &str, value: &str) -> io::Result<()> {
    let path = format!("/proc/sys/{path}");
    if fs::read_to_string(&path)?.trim() == value {
        return Ok(());
    }
    fs::write(path, value)
}
