//! Why a Service has no endpoint to offer.

use dataplane::forwarding_table::Standing;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt;

use super::{of, say};
use crate::wiring::agent::explanation::{Delivery, ServiceView};
use crate::wiring::trace::cluster::Facts;
use crate::wiring::trace::report::Problem;

type Labels = BTreeMap<String, String>;

pub(super) fn problem(delivery: &Delivery, facts: &Facts) -> Problem {
    let view = delivery.service.clone().unwrap_or_default();
    let describe = format!("sluice describe service {} -n {}", view.name, view.namespace);
    let Some(spec) = facts.service(&view).and_then(|service| service.spec.clone()) else {
        return say(
            format!("Service {} has just been deleted.", of(&view)),
            ["sluice get services -A".to_owned()],
        );
    };
    let selector: Labels = spec.selector.clone().unwrap_or_default();
    if selector.is_empty() {
        return say(
            format!(
                "Service {} has no selector, and nobody has made an EndpointSlice with a ready address for it.",
                of(&view)
            ),
            [describe, format!("sluice get endpointslices -n {}", view.namespace)],
        );
    }
    let selected: Vec<&Pod> = facts.pods.iter().filter(|pod| matches(&selector, pod)).collect();
    if selected.is_empty() {
        return nothing_selected(&view, &selector, facts);
    }
    if delivery.endpoints.iter().any(|endpoint| endpoint.standing == Standing::OtherPort) {
        return port_differs(&view, &spec, &selected);
    }
    if !delivery.endpoints.is_empty()
        && delivery.endpoints.iter().all(|endpoint| endpoint.standing == Standing::OtherFamily)
    {
        return say(
            format!("The pods of Service {} have addresses of the other IP family only.", of(&view)),
            [describe],
        );
    }
    none_ready(&view, &selected)
}

fn matches(selector: &Labels, pod: &Pod) -> bool {
    selector.iter().all(|(key, value)| pod.labels().get(key) == Some(value))
}

fn text(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

fn nothing_selected(view: &ServiceView, selector: &Labels, facts: &Facts) -> Problem {
    let near = facts
        .pods
        .iter()
        .filter_map(|pod| Some((nearness(selector, pod)?, pod)))
        .max_by_key(|(near, _)| *near);
    let hint = near.map_or_else(String::new, |(_, pod)| {
        let own: Labels = pod
            .labels()
            .iter()
            .filter(|(key, _)| key.as_str() != "pod-template-hash")
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        format!(" Pod {} comes near, with {}.", pod.name_any(), text(&own))
    });
    let selector = text(selector);
    say(
        format!(
            "Service {} selects pods with the labels {selector}, and no pod of namespace {} has them.{hint}",
            of(view),
            view.namespace
        ),
        [
            format!("sluice get pods -n {} --show-labels", view.namespace),
            format!("sluice describe service {} -n {}", view.name, view.namespace),
        ],
    )
}

/// How much a pod's labels are like the selector; none when not at all.
fn nearness(selector: &Labels, pod: &Pod) -> Option<usize> {
    let points = selector.iter().map(|(key, value)| match pod.labels().get(key) {
        Some(own) if own == value => 3,
        Some(own) if super::names::is_near(super::names::distance(own, value), value) => 2,
        Some(_) => 1,
        None => pod.labels().values().filter(|own| *own == value).count().min(2),
    });
    Some(points.sum()).filter(|points| *points > 0)
}

/// The slices have no port of the Service's name: a targetPort by name that the containers do not have.
fn port_differs(view: &ServiceView, spec: &ServiceSpec, selected: &[&Pod]) -> Problem {
    let ports = spec.ports.clone().unwrap_or_default();
    let port = ports.iter().find(|port| port.name.clone().unwrap_or_default() == view.port_name);
    let wanted = port.and_then(named_target).unwrap_or_else(|| view.port_name.clone());
    let containers = selected.iter().filter_map(|pod| pod.spec.as_ref()).flat_map(|spec| &spec.containers);
    let mut names: Vec<String> = containers
        .flat_map(|container| container.ports.iter().flatten())
        .map(|port| match &port.name {
            Some(name) => format!("{name} ({})", port.container_port),
            None => format!("{} (without a name)", port.container_port),
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    let have =
        if names.is_empty() { "define none".to_owned() } else { format!("define {}", names.join(", ")) };
    say(
        format!(
            "Service {} sends to the port named {wanted:?} of its pods, and their containers {have}.",
            of(view)
        ),
        [
            format!("sluice describe service {} -n {}", view.name, view.namespace),
            format!("sluice describe pod {} -n {}", selected[0].name_any(), view.namespace),
        ],
    )
}

fn named_target(port: &ServicePort) -> Option<String> {
    match port.target_port.as_ref()? {
        IntOrString::String(name) => Some(name.clone()),
        IntOrString::Int(_) => None,
    }
}

fn none_ready(view: &ServiceView, selected: &[&Pod]) -> Problem {
    let mut reasons: Vec<String> =
        selected.iter().map(|pod| format!("{} {}", pod.name_any(), state(pod))).collect();
    let further = reasons.len().saturating_sub(3);
    reasons.truncate(3);
    let more = if further > 0 { format!(", and {further} more") } else { String::new() };
    let pod = selected[0].name_any();
    say(
        format!("None of the pods of Service {} is ready: {}{more}.", of(view), reasons.join("; ")),
        [
            format!("sluice get pods -n {}", view.namespace),
            format!("sluice describe pod {pod} -n {}", view.namespace),
            format!("sluice logs {pod} -n {}", view.namespace),
        ],
    )
}

/// Why a pod is not ready, in the words of its own status.
fn state(pod: &Pod) -> String {
    let status = pod.status.clone().unwrap_or_default();
    if pod.metadata.deletion_timestamp.is_some() {
        return "is being deleted".to_owned();
    }
    let conditions = status.conditions.unwrap_or_default();
    let failed = |kind: &str| {
        conditions.iter().find(|condition| condition.type_ == kind && condition.status == "False")
    };
    if let Some(condition) = failed("PodScheduled") {
        return format!("is on no node ({})", condition.message.clone().unwrap_or_default());
    }
    for container in status.container_statuses.unwrap_or_default() {
        let state = container.state.unwrap_or_default();
        if let Some(waiting) = state.waiting {
            return format!("waits ({})", waiting.reason.unwrap_or_default());
        }
        if let Some(terminated) = state.terminated {
            return format!("has ended (exit code {})", terminated.exit_code);
        }
        if !container.ready {
            return "runs, but its readiness probe fails".to_owned();
        }
    }
    match failed("Ready").and_then(|condition| condition.message.clone()) {
        Some(message) => format!("is not ready ({message})"),
        None => format!("is {}", status.phase.unwrap_or_default()),
    }
}
