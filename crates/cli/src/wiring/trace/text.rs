//! A trace for people: one block for each step, what it is on the left, and the conclusion last.

mod live;
mod packet;
mod service;

use super::cluster::SenderKind;
use super::question::{Kernel, LiveOutcome, NameStep};
use super::report::{Report, Verdict};
use crate::wiring::agent::explanation::Delivery;

/// Width of the left column.
const LEFT: usize = 10;
/// Endpoints listed; a Service with more is clear enough by them.
const ENDPOINTS_MAX: usize = 40;

/// Lines under headings.
#[derive(Default)]
struct Page(String);

impl Page {
    fn block(&mut self, heading: &str, lines: impl IntoIterator<Item = String>) {
        let mut heading = heading;
        for line in lines {
            self.0.push_str(format!("{heading:<LEFT$}{line}").trim_end());
            self.0.push('\n');
            heading = "";
        }
    }
}

/// The whole text.
pub(super) fn render(report: &Report) -> String {
    let mut page = Page::default();
    page.block("sender", [sender(report)]);
    page.block("name", names(report));
    if let Some(delivery) = &report.delivery {
        page.block("service", service::lines(report, delivery));
        page.block("endpoints", service::endpoints(delivery));
        if let Some(kernel) = &report.kernel {
            page.block("kernel", kernel_lines(report, delivery, kernel));
        }
        page.block("packet", packet::lines(report, delivery));
    }
    if let Some(live) = &report.live {
        page.block("live", live::lines(report, live));
    }
    page.block("note", report.warnings.iter().cloned());
    page.0.push('\n');
    page.block("result", [result(report)]);
    if let Some(problem) = &report.problem {
        page.block("why", [problem.why.clone()]);
        page.block("try", problem.commands.iter().cloned());
    }
    page.0
}

fn sender(report: &Report) -> String {
    let sender = &report.sender;
    let address = sender.address.map_or_else(String::new, |address| address.to_string());
    match (sender.kind, &sender.name) {
        (SenderKind::Pod, Some(name)) => {
            let namespace = sender.namespace.as_deref().unwrap_or_default();
            format!("pod {namespace}/{name}, address {address}, on node {}", sender.node)
        }
        (SenderKind::Node, Some(name)) => {
            let namespace = sender.namespace.as_deref().unwrap_or_default();
            format!("pod {namespace}/{name}, which uses the network of node {} ({address})", sender.node)
        }
        (SenderKind::Node, None) => format!("a process of node {}, address {address}", sender.node),
        _ => format!("{address}, outside of the cluster; its packet arrives at node {}", sender.node),
    }
}

fn names(report: &Report) -> Vec<String> {
    let Some(first) = report.names.first() else { return Vec::new() };
    let host = &report.target.host;
    let how = if first.answered_by == "/etc/hosts" {
        format!("{host} is in the pod's /etc/hosts")
    } else {
        let searched = if report.names.len() > 1 || first.name != *host {
            ", completed with the search list of /etc/resolv.conf"
        } else {
            ""
        };
        format!("{host} is asked of the DNS server {}{searched}", first.answered_by)
    };
    let width = report.names.iter().map(|step| step.name.len()).max().unwrap_or(0);
    let answer = |step: &NameStep| {
        let forwarded = if step.forwarded { "  (asked of the servers outside of the cluster)" } else { "" };
        format!("  {:<width$}  {}{forwarded}", step.name, meaning(&step.answer))
    };
    std::iter::once(how).chain(report.names.iter().map(answer)).collect()
}

fn meaning(answer: &str) -> String {
    match answer {
        "NXDOMAIN" => "NXDOMAIN (no such name)".to_owned(),
        "NODATA" => "NODATA (the name exists, without an address of this kind)".to_owned(),
        "SERVFAIL" => "SERVFAIL (the server could not find out)".to_owned(),
        other => other.to_owned(),
    }
}

fn kernel_lines(report: &Report, delivery: &Delivery, kernel: &Kernel) -> Vec<String> {
    let node = &report.sender.node;
    if kernel.elements.is_empty() && delivery.table_line.is_none() {
        return Vec::new();
    }
    let head = if kernel.agrees {
        format!(
            "node {node} holds the same; these elements of the table \"sluice\" decide (nft list table ip sluice):"
        )
    } else {
        format!("node {node} does NOT hold the same:")
    };
    let width = kernel.elements.iter().map(|element| element.set.len()).max().unwrap_or(0);
    let elements =
        kernel.elements.iter().map(|element| format!("  {:<width$}  {{ {} }}", element.set, element.text));
    let mut lines: Vec<String> = std::iter::once(head).chain(elements).collect();
    if !kernel.agrees {
        let shown = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push(format!("  wanted  {}", shown(&delivery.table_line)));
        lines.push(format!("  holds   {}", shown(&kernel.line)));
    }
    lines
}

fn result(report: &Report) -> String {
    let seen = report.live.is_some();
    if report.live.as_ref().is_some_and(|live| live.outcome == LiveOutcome::Silence)
        && report.verdict == Verdict::Connects
    {
        return "it was sent on; no answer came, which a UDP server need not give".to_owned();
    }
    let text = match (report.verdict, seen) {
        (Verdict::Connects, true) => "it connects",
        (Verdict::Connects, false) => "it would connect, as far as the network goes; --live tries it",
        (Verdict::Refused, true) => "it is refused",
        (Verdict::Refused, false) => "it would be refused",
        (Verdict::Dropped, true) => "it times out",
        (Verdict::Dropped, false) => "it would time out",
        (Verdict::NoAddress, _) => "no connection: the name has no address",
        (Verdict::Unknown, _) => "cannot be told",
    };
    text.to_owned()
}
