//! Command-line arguments of the built-in programs, and their way to fail.

use std::io::{self, Write};
use std::process::ExitCode;

/// Prints `name: message` to stderr; the exit code.
pub(super) fn fail(name: &str, message: &str, code: u8) -> ExitCode {
    writeln!(io::stderr(), "{name}: {message}").ok();
    ExitCode::from(code)
}

/// A long flag with its value: `--port=80` or `--port 80`. A lone flag has none.
pub(super) struct Flag {
    pub(super) name: String,
    pub(super) value: Option<String>,
}

/// Reads `--name[=value]` arguments; the value may be the next argument unless that is a flag itself.
pub(super) fn long_flags(arguments: Vec<String>) -> Result<Vec<Flag>, String> {
    let mut flags = Vec::new();
    let mut rest = arguments.into_iter().peekable();
    while let Some(argument) = rest.next() {
        let Some(flag) = argument.strip_prefix("--").filter(|flag| !flag.is_empty()) else {
            return Err(format!("unexpected argument {argument:?}"));
        };
        let flag = match flag.split_once('=') {
            Some((name, value)) => Flag { name: name.to_owned(), value: Some(value.to_owned()) },
            None => Flag { name: flag.to_owned(), value: rest.next_if(|next| !next.starts_with("--")) },
        };
        flags.push(flag);
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::long_flags;

    #[test]
    fn flags_with_and_without_values() {
        let arguments = ["--port=80", "--level", "info", "--random-error", "--host", "0.0.0.0"];
        let flags = long_flags(arguments.map(str::to_owned).to_vec()).expect("valid");
        let pairs: Vec<_> = flags.iter().map(|flag| (flag.name.as_str(), flag.value.as_deref())).collect();
        let expected = [
            ("port", Some("80")),
            ("level", Some("info")),
            ("random-error", None),
            ("host", Some("0.0.0.0")),
        ];
        assert_eq!(pairs, expected);
        assert!(long_flags(vec!["port".to_owned()]).is_err());
    }
}
