//! `oracle dns`: what a real CoreDNS says of generated objects, and the same asked of Sluice. A front for the test that does
//! it (`crates/dns/tests/oracle.rs`), which `cargo test` runs without the program against what it said when it was recorded.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, bail, ensure};

const USAGE: &str = "oracle dns [--peer FILE [--record]] [--set SEED] [PROFILE]";

/// What is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    peer: Option<String>,
    record: bool,
    set: Option<String>,
    profile: Option<String>,
}

/// Runs the comparison that the words ask for.
pub(crate) fn run(words: &[String]) -> anyhow::Result<()> {
    let options = match words.split_first() {
        Some((which, rest)) if which == "dns" => Options::read(rest)?,
        _ => bail!("{USAGE}"),
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command.args(["test", "-p", "dns", "--test", "oracle", "--"]).args(&options.profile);
    for name in ["COREDNS", "UPDATE", "ORACLE_SET"] {
        command.env_remove(name);
    }
    if let Some(peer) = &options.peer {
        let path = std::path::absolute(peer).with_context(|| format!("the path {peer}"))?;
        ensure!(path.is_file(), "there is no program {}", path.display());
        command.env("COREDNS", path);
    }
    if options.record {
        command.env("UPDATE", "1");
    }
    if let Some(set) = &options.set {
        command.env("ORACLE_SET", set);
    }
    let status = command.status().context("running cargo")?;
    ensure!(status.success(), "the answers differ");
    Ok(())
}

impl Options {
    fn read(words: &[String]) -> anyhow::Result<Self> {
        let mut options = Self::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().cloned().with_context(|| format!("{word} needs a value; {USAGE}"));
            match &word[..] {
                "--peer" => options.peer = Some(value()?),
                "--set" => options.set = Some(value()?),
                "--record" => options.record = true,
                flag if flag.starts_with('-') => bail!("{flag} is not known; {USAGE}"),
                profile => options.profile = Some(profile.to_owned()),
            }
        }
        ensure!(options.peer.is_some() || !options.record, "--record needs --peer; {USAGE}");
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let read = |text: &str| Options::read(&text.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let expected = Options { peer: Some("a".into()), record: true, ..Options::default() };
        assert_eq!(read("--peer a --record").unwrap(), expected);
        assert_eq!(read("--set 3 kubeadm").unwrap().profile.as_deref(), Some("kubeadm"));
        for wrong in ["--record", "--peer", "--what"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
