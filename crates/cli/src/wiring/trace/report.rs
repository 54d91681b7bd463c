//! The outcome of a trace. Its JSON (`-o json`) is a stable interface, described in README.md: fields are added, none is
//! renamed or removed.

use serde::Serialize;

use super::cluster::{Sender, SenderKind};
use super::question::{Findings, Kernel, Live, LiveOutcome, NameStep};
use super::target::Target;
use crate::wiring::agent::explanation::{Delivery, DestinationKind, Fate};

/// Whether the connection would go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Verdict {
    /// It is delivered.
    Connects,
    /// The sender is told no.
    Refused,
    /// The sender waits for nothing.
    Dropped,
    /// The name has no address.
    NoAddress,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// What is wrong and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    /// One sentence.
    pub(crate) why: String,
    /// Commands to type next.
    #[serde(rename = "try")]
    pub(crate) commands: Vec<String>,
}

/// A whole trace.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) verdict: Verdict,
    pub(crate) problem: Option<Problem>,
    pub(crate) sender: Sender,
    pub(crate) target: Target,
    pub(crate) names: Vec<NameStep>,
    pub(crate) delivery: Option<Delivery>,
    pub(crate) kernel: Option<Kernel>,
    pub(crate) live: Option<Live>,
    pub(crate) warnings: Vec<String>,
    /// How the node tells pods from others.
    #[serde(skip)]
    pub(crate) pods_told: Option<String>,
    /// The agent has not seen everything yet.
    #[serde(skip)]
    pub(crate) unsynced: Option<String>,
}

impl Report {
    /// Joins what was found out.
    pub(crate) fn new(sender: Sender, target: Target, findings: Findings) -> Self {
        let mut report = Self {
            sender,
            target,
            names: findings.names,
            delivery: findings.delivery,
            kernel: findings.kernel,
            live: findings.live,
            warnings: findings.warnings,
            pods_told: findings.node.pods,
            unsynced: findings.unsynced,
            ..Self::default()
        };
        if report.sender.kind != SenderKind::Pod && !report.names.is_empty() {
            let who = if report.sender.kind == SenderKind::Node {
                "a node's processes do"
            } else {
                "a client outside does"
            };
            let namespace = &report.sender.resolver.namespace;
            report.warnings.push(format!(
                "{who} not use the cluster's DNS by default: the name was looked up as for a pod of namespace {namespace}"
            ));
        }
        report.verdict = report.judge();
        report
    }

    /// What was seen counts for more than what was computed.
    fn judge(&self) -> Verdict {
        if self.unsynced.is_some() {
            return Verdict::Unknown;
        }
        let udp = self.target.protocol == "udp";
        match self.live.as_ref().map(|live| live.outcome) {
            Some(LiveOutcome::Answered) => return Verdict::Connects,
            Some(LiveOutcome::Refused) => return Verdict::Refused,
            Some(LiveOutcome::Silence) if !udp => return Verdict::Dropped,
            Some(LiveOutcome::Unreachable) => return Verdict::Dropped,
            // A server may take a datagram without an answer.
            Some(LiveOutcome::Silence) | None => {}
        }
        let Some(delivery) = &self.delivery else { return self.judge_names() };
        if self.kernel.as_ref().is_some_and(|kernel| !kernel.agrees) {
            return Verdict::Unknown;
        }
        match (delivery.fate, delivery.kind) {
            (Fate::Forwarded | Fate::Local, _) => Verdict::Connects,
            (Fate::Refused, _) => Verdict::Refused,
            (Fate::Dropped, _) => Verdict::Dropped,
            (Fate::Untouched, _) => Verdict::Unknown,
        }
    }

    /// A server that could not find out leaves it open, but for a name without a dot, which nobody outside has.
    fn judge_names(&self) -> Verdict {
        let certain = |step: &NameStep| {
            matches!(step.answer.as_str(), "NXDOMAIN" | "NODATA")
                || step.answer.contains("CNAME")
                || step.is_bare()
        };
        if !self.names.is_empty() && self.names.iter().all(certain) {
            Verdict::NoAddress
        } else {
            Verdict::Unknown
        }
    }

    /// 0: it would go through. 1: it would not. 2: it cannot be told.
    pub(crate) fn exit_code(&self) -> u8 {
        match self.verdict {
            Verdict::Connects => 0,
            Verdict::Refused | Verdict::Dropped | Verdict::NoAddress => 1,
            Verdict::Unknown => 2,
        }
    }

    /// True when nothing of the service proxy is in the way.
    pub(crate) fn is_direct(&self) -> bool {
        self.delivery.as_ref().is_some_and(|delivery| delivery.kind == DestinationKind::Direct)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name of the search path, its answer, and whether it was asked beyond the cluster.
    type Step = (&'static str, &'static str, bool);

    fn named(steps: &[Step]) -> Report {
        let step = |(name, answer, forwarded): &Step| NameStep {
            name: (*name).into(),
            answer: (*answer).into(),
            forwarded: *forwarded,
            ..NameStep::default()
        };
        let findings = Findings { names: steps.iter().map(step).collect(), ..Findings::default() };
        Report::new(Sender::default(), Target::default(), findings)
    }

    #[test]
    fn names_without_an_address_are_certain_or_not() {
        let inside = ("web.default.svc.cluster.local", "NXDOMAIN", false);
        let cases: &[(&[Step], u8)] = &[
            (&[inside, ("web", "NXDOMAIN", true)], 1),
            (&[inside, ("web", "SERVFAIL", true)], 1),
            (&[inside, ("example.com", "NXDOMAIN", true)], 1),
            (&[inside, ("example.com", "SERVFAIL", true)], 2),
            (&[("web.default.svc.cluster.local", "SERVFAIL", false)], 2),
            (&[("out.default.svc.cluster.local", "CNAME a.invalid.", true)], 1),
        ];
        for (steps, expected) in cases {
            assert_eq!(named(steps).exit_code(), *expected, "{steps:?}");
        }
    }

    #[test]
    fn what_was_seen_counts_for_more() {
        let delivery = |fate| Some(Delivery { fate, ..Delivery::default() });
        let live = |outcome| Some(Live { outcome, ..Live::default() });
        let judged = |protocol: &str, findings| {
            let target = Target { protocol: protocol.into(), ..Target::default() };
            Report::new(Sender::default(), target, findings).verdict
        };
        let forwarded = || Findings { delivery: delivery(Fate::Forwarded), ..Findings::default() };
        assert_eq!(judged("tcp", forwarded()), Verdict::Connects);
        let with = |outcome| Findings { live: live(outcome), ..forwarded() };
        assert_eq!(judged("tcp", with(LiveOutcome::Refused)), Verdict::Refused);
        assert_eq!(judged("tcp", with(LiveOutcome::Silence)), Verdict::Dropped);
        assert_eq!(judged("udp", with(LiveOutcome::Silence)), Verdict::Connects);
        let stale = Findings { kernel: Some(Kernel::default()), ..forwarded() };
        assert_eq!(judged("tcp", stale), Verdict::Unknown);
        let early = Findings { unsynced: Some("DNS is not synced".into()), ..forwarded() };
        assert_eq!(judged("tcp", early), Verdict::Unknown);
    }
}
