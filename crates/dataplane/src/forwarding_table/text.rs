//! The table as text: what `sluice dump forwarding` prints and what scenarios expect of the stage `forwarding`.
//!
//! ```text
//! tcp 10.96.0.1:443 default/kubernetes:https => 172.18.0.1:6443
//! tcp 10.96.132.79:80 default/podinfo => 10.244.1.16:9898, 10.244.2.15:9898
//! tcp 172.18.0.2:30080 default/podinfo node-port => 10.244.1.16:9898; outside => drop (no endpoint on this node)
//! tcp 192.0.2.7:80 default/podinfo load-balancer sources=192.0.2.0/24 affinity=600s => 10.244.1.16:9898
//! udp 10.96.0.10:53 kube-system/kube-dns:dns => local; otherwise => 172.18.0.3:53
//! tcp 10.96.200.7:80 default/empty => reject (no endpoints)
//! hairpin 10.244.1.16
//! service-cidr 10.96.0.0/16
//! pods 10.244.0.0/16
//! masquerade-all
//! ```
//!
//! The kernel's state, read back, prints the same lines (`sluice dump nft`): when both agree, so do the two texts.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{ForwardingTable, Frontend, FrontendKey, Kind, NodeFacts, Pods, Target};

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

/// What a frontend is beside its owner: ` node-port sources=192.0.2.0/24 affinity=600s`, nothing for a plain ClusterIP.
pub(crate) fn attributes(kind: Kind, sources: &[IpNet], affinity: Option<Duration>) -> String {
    let mut text = String::new();
    let mut word = |word: String| text.extend([" ", &word]);
    if kind != Kind::ClusterIp {
        word(kind.as_str().to_owned());
    }
    if !sources.is_empty() {
        let list: Vec<String> = sources.iter().map(ToString::to_string).collect();
        word(format!("sources={}", list.join(",")));
    }
    if let Some(timeout) = affinity {
        word(format!("affinity={}s", timeout.as_secs()));
    }
    text
}

/// Both targets of a frontend: `a:1, b:2; outside => drop (no endpoint on this node)`.
pub(crate) fn targets(target: &impl fmt::Display, outside: Option<&impl fmt::Display>) -> String {
    match outside {
        Some(outside) => format!("{target}; outside => {outside}"),
        None => target.to_string(),
    }
}

/// The line of what this node answers itself; `otherwise` is what its Service's would be, if there is one, and holds while
/// the node's server does not answer.
pub(crate) fn answered(key: &FrontendKey, otherwise: Option<String>) -> String {
    match otherwise {
        Some(otherwise) => otherwise.replacen(" => ", " => local; otherwise => ", 1),
        None => line(key, "", &"local"),
    }
}

fn frontend_line(key: &FrontendKey, frontend: &Frontend) -> String {
    let attributes = attributes(frontend.kind, &frontend.sources, frontend.affinity);
    line(key, &(frontend.owner() + &attributes), &targets(&frontend.target, frontend.outside.as_ref()))
}

/// The facts that planes hold beside frontends, as lines.
pub(crate) fn fact_lines(facts: &NodeFacts) -> Vec<String> {
    let mut lines: Vec<String> =
        facts.merged_cidrs().into_iter().map(|cidr| format!("service-cidr {cidr}")).collect();
    match &facts.pods {
        Pods::Unknown => {}
        Pods::Cidrs(_) => lines.extend(facts.merged_pods().iter().map(|cidr| format!("pods {cidr}"))),
        Pods::Bridge(name) => lines.push(format!("pods bridge {name}")),
        Pods::InterfacePrefix(prefix) => lines.push(format!("pods interface {prefix}*")),
    }
    if facts.masquerade_all {
        lines.push("masquerade-all".to_owned());
    }
    lines
}

impl ForwardingTable {
    /// The line of one address and port, as among [`ForwardingTable::lines`].
    #[must_use]
    pub fn line_of(&self, key: &FrontendKey) -> Option<String> {
        let frontend = self.frontend(key).map(|frontend| frontend_line(key, frontend));
        if self.facts.answered.contains(key) { Some(answered(key, frontend)) } else { frontend }
    }

    /// The table's lines, sorted: frontends by address, port and protocol, then hairpins, then facts.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut frontends: BTreeMap<FrontendKey, String> =
            self.frontends().map(|(key, frontend)| (*key, frontend_line(key, frontend))).collect();
        frontends.extend(self.facts.answered.iter().filter_map(|key| Some((*key, self.line_of(key)?))));
        let mut hairpins: Vec<_> = self.hairpins().collect();
        hairpins.sort_unstable();
        let hairpins = hairpins.iter().map(|address| format!("hairpin {address}"));
        frontends.into_values().chain(hairpins).chain(fact_lines(&self.facts)).collect()
    }
}

impl fmt::Display for ForwardingTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
