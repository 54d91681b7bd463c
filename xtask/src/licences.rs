//! Every crate that we link must come under a licence that `deny.toml` allows: read from `cargo metadata`, so that a
//! newcomer and CI need no further tool.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, bail};

/// Fails with the list of crates whose licence expression has no alternative that is allowed throughout.
pub(crate) fn check() -> anyhow::Result<()> {
    let allowed = allowed_licences(&std::fs::read_to_string("deny.toml").context("reading deny.toml")?);
    let output = Command::new("cargo")
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .output()
        .context("running cargo metadata")?;
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| !is_allowed(package["license"].as_str().unwrap_or("none"), &allowed))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    if !refused.is_empty() {
        bail!("licences that deny.toml does not allow:\n  {}", refused.join("\n  "));
    }
    println!("{} crates, all under allowed licences", packages.len());
    Ok(())
}

/// The strings of the `allow = [ … ]` list under `[licenses]`.
fn allowed_licences(deny: &str) -> BTreeSet<String> {
    let list = deny.split_once("allow = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or(""));
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// SPDX expressions as they occur in practice: alternatives by OR (or the old `/`), each a conjunction by AND.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let flat = expression.replace('/', " OR ").replace(['(', ')'], " ");
    let conjunctions = flat.split(" AND ");
    // `A AND B OR C`, flattened: each conjunct needs an allowed alternative. Stricter than SPDX, never laxer.
    conjunctions.into_iter().all(|part| part.split(" OR ").any(|name| allowed.contains(name.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let allowed = allowed_licences("[licenses]\nallow = [\"MIT\", \"Apache-2.0\",\n \"Unicode-3.0\"]");
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/Apache-2.0", true),
            ("GPL-3.0-only", false),
            ("GPL-3.0-only OR MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT AND GPL-2.0", false),
        ] {
            assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
        }
    }
}
