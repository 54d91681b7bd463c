//! The table as text: what `sluice dump forwarding` prints and what scenarios expect of the stage `forwarding`.
//!
//! ```text
//! tcp 10.96.0.1:443 default/kubernetes:https => 172.18.0.1:6443
//! tcp 10.96.132.79:80 default/podinfo => 10.244.1.16:9898, 10.244.2.15:9898
//! udp 10.96.0.10:53 kube-system/kube-dns:dns => local
//! tcp 10.96.200.7:80 default/empty => reject (no endpoints)
//! hairpin 10.244.1.16
//! service-cidr 10.96.0.0/16
//! ```
//!
//! The kernel's state, read back, prints the same lines (`sluice dump nft`): when both agree, so do the two texts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use super::{ForwardingTable, FrontendKey, Target};

impl fmt::Display for FrontendKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, SocketAddr::new(self.address, self.port))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balance(list) => endpoints(f, list),
            Self::Refuse => f.write_str("reject (no endpoints)"),
            Self::Drop => f.write_str("drop (no endpoint on this node)"),
        }
    }
}

/// `a:1, b:2`.
pub(super) fn endpoints(f: &mut fmt::Formatter<'_>, endpoints: &[SocketAddr]) -> fmt::Result {
    for (index, endpoint) in endpoints.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{endpoint}")?;
    }
    Ok(())
}

/// One line of a frontend; `owner` is empty when no Service has it.
pub(crate) fn line(key: &FrontendKey, owner: &str, outcome: &impl fmt::Display) -> String {
    let space = if owner.is_empty() { "" } else { " " };
    format!("{key}{space}{owner} => {outcome}")
}

impl ForwardingTable {
    /// The table's lines, sorted: frontends by address, port and protocol, then hairpins, then service CIDRs.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut frontends: BTreeMap<FrontendKey, String> = self
            .frontends()
            .map(|(key, frontend)| (*key, line(key, &frontend.owner(), &frontend.target)))
            .collect();
        for key in &self.facts.answered {
            let owner = self.frontend(key).map(super::Frontend::owner).unwrap_or_default();
            frontends.insert(*key, line(key, &owner, &"local"));
        }
        let mut hairpins: Vec<_> = self.hairpins().collect();
        hairpins.sort_unstable();
        let hairpins = hairpins.iter().map(|address| format!("hairpin {address}"));
        let cidrs = self.facts.merged_cidrs().into_iter().map(|cidr| format!("service-cidr {cidr}"));
        frontends.into_values().chain(hairpins).chain(cidrs).collect()
    }
}

impl fmt::Display for ForwardingTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
