//! The real packet's way.

use crate::wiring::trace::question::{Live, LiveOutcome};
use crate::wiring::trace::report::Report;

pub(super) fn lines(report: &Report, live: &Live) -> Vec<String> {
    let what = if report.target.protocol == "udp" { "a datagram" } else { "a connection" };
    let ended = match (live.outcome, report.target.protocol.as_str()) {
        (LiveOutcome::Answered, "udp") => format!("answered after {} ms", live.milliseconds),
        (LiveOutcome::Answered, _) => format!("connected after {} ms, and closed again", live.milliseconds),
        (LiveOutcome::Refused, _) => format!("refused after {} ms", live.milliseconds),
        (LiveOutcome::Unreachable, _) => "unreachable".to_owned(),
        (LiveOutcome::Silence, _) => format!("no answer within {:.0} s", live.milliseconds / 1000.0),
    };
    let mut lines = vec![format!("{what} was sent, {} -> {}: {ended}", live.source, live.destination)];
    if live.path.is_empty() {
        lines.push("no rule of the node saw its first packet".to_owned());
    } else {
        lines.push(format!("the way of its first packet through the rules of node {}:", report.sender.node));
    }
    lines.extend(way(live));
    if let Some(connection) = &live.connection {
        lines.push(format!("connection tracking: {connection}"));
    }
    lines
}

/// The steps under the packet that took them, which is told again where it has changed.
fn way(live: &Live) -> Vec<String> {
    let width = live.path.iter().map(|step| step.chain.len()).max().unwrap_or(0);
    let mut lines = Vec::new();
    let mut told = String::new();
    for (index, step) in live.path.iter().enumerate() {
        if let Some(packet) = &step.packet {
            let by = step.arrived_by.as_ref().map_or_else(String::new, |name| format!(", in by {name}"));
            let out = step.leaves_by.as_ref().map_or_else(String::new, |name| format!(", out by {name}"));
            let text = format!("  {packet}{by}{out}");
            if text != told {
                lines.push(text.clone());
                told = text;
            }
        }
        // A chain without a word is told by its policy, in the next step.
        let silent = step.rule.is_none() && step.verdict == "continue";
        if silent && live.path.get(index + 1).is_some_and(|next| next.chain == step.chain) {
            continue;
        }
        let rule =
            step.rule.as_ref().map_or_else(|| "no rule matches".to_owned(), |rule| format!("\"{rule}\""));
        let ours = step.table == dataplane::nftables::TABLE;
        let table = if ours { String::new() } else { format!("  (table {})", step.table) };
        lines.push(format!("    {:<width$}  {rule}: {}{table}", step.chain, step.verdict));
    }
    lines
}
