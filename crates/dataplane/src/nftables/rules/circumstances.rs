//! The node's facts that stand in rules, not in sets, and how they are read back: rules are recognised by their
//! comments, and these say the facts.

use std::collections::HashMap;

use super::refusal::LATE_REFUSAL;
use super::{EXTERNAL, REFUSE, TRANSLATED};
use crate::forwarding_table::{NodeFacts, Pods};
use crate::nftables::expression::{Expression, Register};
use crate::nftables::family::{Family, PROTOCOL};
use crate::nftables::message::Layout;
use crate::nftables::set::PODS;

/// Longest name of an interface, `IFNAMSIZ` with its NUL.
const INTERFACE_NAME: usize = 16;
const FROM_PODS: &str = "from pods";
const TO_SERVICES: &str = "to a service address";
const BY_ADDRESS: &str = "by address";
const BRIDGE: &str = "bridge ";
const INTERFACE: &str = "interface ";

/// How pods' connections are told from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::nftables) enum FromPods {
    /// By the set of subnets.
    ByAddress,
    /// By the interface's whole name: a bridge.
    Bridge(Box<str>),
    /// By the first letters of the interface's name.
    Interface(Box<str>),
}

/// What the rules of one family depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::nftables) struct Circumstances {
    /// `None`: pods are not told apart.
    pub(in crate::nftables) pods: Option<FromPods>,
    /// Every connection to a ClusterIP is masqueraded.
    pub(in crate::nftables) masquerade_all: bool,
    /// Filter chains refuse, not nat chains.
    pub(in crate::nftables) late_refusal: bool,
}

impl Circumstances {
    pub(in crate::nftables) fn of(layout: &Layout, facts: &NodeFacts) -> Self {
        let pods = match &facts.pods {
            Pods::Cidrs(_) if facts.pods.knows(layout.family.is_ipv4()) => Some(FromPods::ByAddress),
            Pods::Unknown | Pods::Cidrs(_) => None,
            Pods::Bridge(name) => Some(FromPods::Bridge(name.clone())),
            Pods::InterfacePrefix(prefix) => Some(FromPods::Interface(prefix.clone())),
        };
        Self { pods, masquerade_all: facts.masquerade_all, late_refusal: layout.late_refusal }
    }

    /// From the comments of the rules that a table holds.
    pub(in crate::nftables) fn read(chains: &HashMap<String, Vec<String>>) -> Self {
        let comments = |chain: &str| chains.get(chain).map(Vec::as_slice).unwrap_or_default();
        let pods = comments(EXTERNAL).iter().find_map(|comment| {
            FromPods::parse(comment.strip_prefix(FROM_PODS)?.strip_prefix(" (")?.strip_suffix(')')?)
        });
        let masquerade_all = comments(TRANSLATED).iter().any(|comment| *comment == masquerade_all_comment());
        let late_refusal = comments(REFUSE).iter().any(|comment| comment == LATE_REFUSAL);
        Self { pods, masquerade_all, late_refusal }
    }
}

pub(super) fn masquerade_all_comment() -> String {
    format!("{TO_SERVICES} (masquerade-all)")
}

impl FromPods {
    fn parse(text: &str) -> Option<Self> {
        if text == BY_ADDRESS {
            return Some(Self::ByAddress);
        }
        if let Some(name) = text.strip_prefix(BRIDGE) {
            return Some(Self::Bridge(name.into()));
        }
        Some(Self::Interface(text.strip_prefix(INTERFACE)?.strip_suffix('*')?.into()))
    }

    fn describe(&self) -> String {
        match self {
            Self::ByAddress => BY_ADDRESS.to_owned(),
            Self::Bridge(name) => format!("{BRIDGE}{name}"),
            Self::Interface(prefix) => format!("{INTERFACE}{prefix}*"),
        }
    }

    /// Comment of the rule for what comes from pods.
    pub(super) fn comment(&self) -> String {
        format!("{FROM_PODS} ({})", self.describe())
    }

    /// Comment of the rule for what goes to a service address and comes from elsewhere.
    pub(super) fn masquerade_comment(&self) -> String {
        format!("{TO_SERVICES}, not from pods ({})", self.describe())
    }

    /// Breaks unless the packet comes from a pod.
    pub(super) fn matches(&self, family: &Family) -> Vec<Expression> {
        match self {
            Self::ByAddress => vec![super::load::source(family, PROTOCOL), Expression::InSet(PROTOCOL, PODS)],
            _ => self.interface(Expression::Equal),
        }
    }

    /// Breaks when the packet comes from a pod. One made here has no input interface and comes from none.
    pub(super) fn differs(&self, family: &Family) -> Vec<Expression> {
        match self {
            Self::ByAddress => {
                vec![super::load::source(family, PROTOCOL), Expression::NotInSet(PROTOCOL, PODS)]
            }
            _ => self.interface(Expression::NotEqual),
        }
    }

    fn interface(&self, compare: fn(Register, Vec<u8>) -> Expression) -> Vec<Expression> {
        let name = match self {
            Self::ByAddress => return Vec::new(),
            Self::Bridge(name) => {
                let mut bytes = clip(name);
                bytes.resize(INTERFACE_NAME, 0);
                bytes
            }
            Self::Interface(prefix) => clip(prefix),
        };
        vec![Expression::InputInterface(PROTOCOL), compare(PROTOCOL, name)]
    }
}

/// No interface has a longer name.
fn clip(name: &str) -> Vec<u8> {
    name.bytes().take(INTERFACE_NAME - 1).collect()
}
