//! Developer commands: `cargo xtask COMMAND`. Nothing of the product depends on them.

#![allow(clippy::print_stdout, reason = "what a command is asked to say")]

mod licences;
mod oracle;

fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.first().map(String::as_str) {
        Some("licences") => licences::check(),
        Some("oracle") => oracle::run(&words[1..]),
        other => anyhow::bail!("unknown command {other:?}; there are: licences, oracle"),
    }
}
