//! Developer commands: `cargo run -p xtask -- COMMAND`. Nothing of the product depends on them.

#![allow(clippy::print_stdout, reason = "what a command is asked to say")]

mod licences;

fn main() -> anyhow::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("licences") => licences::check(),
        other => anyhow::bail!("unknown command {other:?}; there is: licences"),
    }
}
