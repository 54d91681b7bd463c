//! What a Corefile reads besides itself: environment variables and other files.

use std::io;
use std::path::{Path, PathBuf};

/// The outside of a Corefile.
pub trait Sources {
    /// The value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;

    /// The files that `pattern` means, with their names, in order. At most one `*` or `?` stands in it. A relative
    /// pattern is relative to the folder of `importer`.
    ///
    /// # Errors
    /// When a file cannot be read, or the one that is named without a wildcard is not there.
    fn files(&self, pattern: &str, importer: &str) -> io::Result<Vec<(String, String)>>;
}

/// This machine's files and this process's environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

/// Nothing: every variable is unset, every file is missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSources;

impl Sources for NoSources {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn files(&self, _: &str, _: &str) -> io::Result<Vec<(String, String)>> {
        Err(io::ErrorKind::NotFound.into())
    }
}

impl Sources for System {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn files(&self, pattern: &str, importer: &str) -> io::Result<Vec<(String, String)>> {
        let folder = Path::new(importer).parent().unwrap_or(Path::new(""));
        let path = folder.join(pattern);
        let files = if has_wildcard(pattern) { matching(&path)? } else { vec![path] };
        let read = |file: PathBuf| Ok((file.display().to_string(), std::fs::read_to_string(&file)?));
        files.into_iter().map(read).collect()
    }
}

/// True when a pattern may mean several files.
pub(super) fn has_wildcard(pattern: &str) -> bool {
    pattern.contains(['*', '?'])
}

/// The files of one folder whose names match the last part of `path`, sorted. A folder that is not there has none.
fn matching(path: &Path) -> io::Result<Vec<PathBuf>> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let pattern = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let matches = entry.file_name().to_str().is_some_and(|name| matches(pattern, name));
        if matches && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// True when `name` is what `pattern` with at most one wildcard means.
#[must_use]
pub fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once(['*', '?']) else { return pattern == name };
    let one = pattern.as_bytes().get(before.len()) == Some(&b'?');
    let middle = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    middle.is_some_and(|middle| !one || middle.chars().count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wildcard() {
        for (pattern, name, expected) in [
            ("*.server", "a.server", true),
            ("*.server", "a.override", false),
            ("a?", "ab", true),
            ("a?", "abc", false),
            ("a*b", "ab", true),
            ("ab*b", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
