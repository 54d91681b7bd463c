//! Why a name has no address.

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use super::{say, who};
use crate::wiring::agent::explanation::ServiceView;
use crate::wiring::trace::cluster::Facts;
use crate::wiring::trace::report::{Problem, Report};

/// A name with one of so many letters wrong may be meant, and two at most.
const LETTERS_PER_MISTAKE: usize = 3;
const MISTAKES_MAX: usize = 2;

/// What the host's labels would be as a Service: `podinfo`, `podinfo.shop`, `podinfo.shop.svc`, `….svc.cluster.local`.
pub(super) fn view(report: &Report) -> ServiceView {
    let mut labels = report.target.host.trim_end_matches('.').split('.');
    let name = labels.next().unwrap_or_default().to_owned();
    let own = report.sender.resolver.namespace.clone();
    ServiceView { name, namespace: labels.next().map_or(own, str::to_owned), port_name: String::new() }
}

pub(super) fn problem(report: &Report, facts: &Facts) -> Problem {
    let meant = view(report);
    if let Some(service) = facts.service(&meant) {
        return without_address(report, service, &meant);
    }
    if let Some(problem) = not_asked(report) {
        return problem;
    }
    let elsewhere: Vec<String> = facts
        .services
        .iter()
        .filter(|service| service.name_any() == meant.name)
        .filter_map(ResourceExt::namespace)
        .collect();
    if let Some(namespace) = elsewhere.first() {
        let right = format!("{}.{namespace}", meant.name);
        return say(
            format!(
                "There is no Service {} in namespace {}; there is one in {}, whose name from here is {right}.",
                meant.name,
                meant.namespace,
                elsewhere.join(", "),
            ),
            [format!("sluice trace {} {right}:{}", who(report), report.target.port)],
        );
    }
    missing(report, facts, &meant)
}

/// The sender does not ask the cluster, or nobody answered.
fn not_asked(report: &Report) -> Option<Problem> {
    let first = report.names.first()?;
    if first.answered_by == "nobody" {
        return Some(say(
            "The pod has no name server: its dnsPolicy is None, and its dnsConfig names none.",
            [format!("sluice get pod {} -o yaml", report.sender.name.clone().unwrap_or_default())],
        ));
    }
    let silent = report.names.iter().find(|step| step.answer.starts_with("no answer") && !step.is_bare());
    if let Some(step) = silent {
        return Some(say(
            format!(
                "The DNS server {} did not answer for {}, so the name cannot be looked up.",
                step.answered_by, step.name
            ),
            [format!("sluice dump dns --node {}", report.sender.node)],
        ));
    }
    let is_failure = |answer: &str| matches!(answer, "SERVFAIL" | "REFUSED");
    if let Some(step) = report.names.iter().find(|step| is_failure(&step.answer) && !step.is_bare()) {
        let of_others = ": it asks the servers outside, which cannot be reached or do not know either";
        let tail = if step.forwarded { of_others } else { "" };
        return Some(say(
            format!("The DNS server {} says {} to {}{tail}.", step.answered_by, step.answer, step.name),
            [format!("sluice dump dns --node {}", report.sender.node)],
        ));
    }
    (report.sender.resolver.policy == "Default" && report.names.len() == 1).then(|| {
        say(
            "The pod's dnsPolicy is Default, so short names of Services are not completed: it would have to say the whole name.",
            [format!(
                "sluice trace {} {}.{}.svc.cluster.local:{}",
                who(report),
                report.target.host,
                report.sender.resolver.namespace,
                report.target.port
            )],
        )
    })
}

/// The Service is there, and its name has no address.
fn without_address(report: &Report, service: &Service, meant: &ServiceView) -> Problem {
    let spec = service.spec.clone().unwrap_or_default();
    let name = super::of(meant);
    let describe = format!("sluice describe service {} -n {}", meant.name, meant.namespace);
    if let Some(target) = spec.external_name.filter(|_| spec.type_.as_deref() == Some("ExternalName")) {
        return say(
            format!("Service {name} is an alias (ExternalName) for {target}, and that name has no address."),
            [describe],
        );
    }
    if spec.cluster_ip.as_deref() == Some("None") {
        return say(
            format!(
                "Service {name} is headless, so its name stands for the addresses of its ready pods, and it has none."
            ),
            [describe, format!("sluice get pods -n {}", meant.namespace)],
        );
    }
    let asked = if report.sender.address.is_some_and(|address| address.is_ipv6()) { "IPv6" } else { "IPv4" };
    say(format!("Service {name} has no {asked} address, and the sender has only {asked}."), [describe])
}

fn missing(report: &Report, facts: &Facts, meant: &ServiceView) -> Problem {
    let dots = report.target.host.trim_end_matches('.').matches('.').count();
    let is_inside =
        dots == 0 || facts.namespaces.contains(&meant.namespace) || report.target.host.contains(".svc");
    if !is_inside {
        return say(
            format!(
                "The name {} is not known: neither as a Service of the cluster nor to the name servers outside of it.",
                report.target.host
            ),
            ["sluice get services -A".to_owned()],
        );
    }
    if !facts.namespaces.contains(&meant.namespace) {
        return say(
            format!(
                "There is no namespace {}, so there is no Service {} in it.",
                meant.namespace, meant.name
            ),
            ["sluice get namespaces".to_owned(), "sluice get services -A".to_owned()],
        );
    }
    let mut near: Vec<(usize, String)> = facts
        .services
        .iter()
        .filter(|service| service.namespace().as_deref() == Some(&meant.namespace))
        .map(|service| (distance(&service.name_any(), &meant.name), service.name_any()))
        .filter(|(distance, _)| is_near(*distance, &meant.name))
        .collect();
    near.sort_unstable();
    match near.first() {
        Some((_, name)) => say(
            format!(
                "There is no Service {} in namespace {}; did you mean {name}?",
                meant.name, meant.namespace
            ),
            [format!("sluice trace {} {name}:{}", who(report), report.target.port)],
        ),
        None => say(
            format!("There is no Service {} in namespace {}, nor in any other.", meant.name, meant.namespace),
            [
                "sluice get services -A".to_owned(),
                format!(
                    "sluice expose deployment {} -n {} --port {}",
                    meant.name, meant.namespace, report.target.port
                ),
            ],
        ),
    }
}

/// Whether a text that differs by so many letters from `meant` is likely what was meant.
pub(super) fn is_near(distance: usize, meant: &str) -> bool {
    distance <= (meant.len() / LETTERS_PER_MISTAKE).clamp(1, MISTAKES_MAX)
}

/// Letters that must be changed, added, removed or exchanged with their neighbours (optimal string alignment).
pub(super) fn distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let (mut above, mut row): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=right.len()).collect());
    for (at, letter) in left.iter().enumerate() {
        let mut next = vec![at + 1];
        for (place, other) in right.iter().enumerate() {
            let changed = row[place] + usize::from(letter != other);
            let mut least = changed.min(row[place + 1] + 1).min(next[place] + 1);
            if at > 0 && place > 0 && *letter == right[place - 1] && left[at - 1] == *other {
                least = least.min(above[place - 1] + 1);
            }
            next.push(least);
        }
        (above, row) = (row, next);
    }
    row[right.len()]
}
