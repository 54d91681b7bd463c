//! The status of a pod, computed from its spec and its containers' records. Pure.
//!
//! Phase, conditions and container states follow the kubelet's rules; conditions keep their transition time while
//! their status stays.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::record::{Record, State, Terminated};

/// What a pod's status is computed from.
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) records: &'a [Record],
    /// When this node first saw the pod.
    pub(crate) started: Timestamp,
    pub(crate) node: Ipv4Addr,
    /// Known once the pod's network stands.
    pub(crate) address: Option<Ipv4Addr>,
    pub(crate) now: Timestamp,
    /// A failure of the pod as a whole: reason and message.
    pub(crate) failed: Option<(&'static str, String)>,
}

/// The status as it is to be written. Conditions of others are left to the merge.
pub(crate) fn compute(facts: &Facts<'_>) -> PodStatus {
    let (init, main): (Vec<&Record>, Vec<&Record>) = facts.records.iter().partition(|record| record.is_init);
    let phase = if facts.failed.is_some() { "Failed" } else { phase(facts, &init, &main) };
    let statuses = |records: &[&Record]| {
        let statuses: Vec<_> = records.iter().map(|record| container_status(record)).collect();
        (!statuses.is_empty()).then_some(statuses)
    };
    let ip = facts.address.map(|address| address.to_string());
    let host = facts.node.to_string();
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(facts, phase, &init, &main)),
        host_ip: Some(host.clone()),
        host_ips: Some(vec![HostIP { ip: host }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        pod_ip: ip,
        start_time: Some(Time(seconds(facts.started))),
        init_container_statuses: statuses(&init),
        container_statuses: statuses(&main),
        reason: facts.failed.as_ref().map(|(reason, _)| (*reason).to_owned()),
        message: facts.failed.as_ref().map(|(_, message)| message.clone()),
        ..PodStatus::default()
    }
}

/// Conditions that this node writes; all others are others'.
const OWN: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// Somebody else has changed what this node writes: conditions of others may come, change and go.
pub(crate) fn contested(ours: Option<&PodStatus>, seen: Option<&PodStatus>) -> bool {
    let own = |status: &PodStatus| {
        let conditions = status.conditions.iter().flatten();
        conditions.filter(|condition| OWN.contains(&condition.type_.as_str())).cloned().collect::<Vec<_>>()
    };
    let rest = |status: &PodStatus| PodStatus { conditions: None, ..status.clone() };
    let parts = |status: Option<&PodStatus>| status.map(|status| (own(status), rest(status)));
    parts(ours) != parts(seen)
}

/// The API keeps times by the second.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[derive(Default)]
struct Counts {
    waiting: usize,
    running: usize,
    stopped: usize,
    succeeded: usize,
}

fn count(records: &[&Record]) -> Counts {
    let mut counts = Counts::default();
    for record in records {
        match &record.state {
            State::Running { .. } => counts.running += 1,
            State::Terminated(end) => {
                counts.stopped += 1;
                counts.succeeded += usize::from(end.exit_code == 0);
            }
            State::Waiting { .. } => match &record.last {
                Some(_) => counts.stopped += 1,
                None => counts.waiting += 1,
            },
        }
    }
    counts
}

/// The kubelet's `getPhase`; a pod that is being deleted is judged as if it were never restarted.
fn phase(facts: &Facts<'_>, init: &[&Record], main: &[&Record]) -> &'static str {
    let spec = facts.pod.spec.as_ref();
    let policy = match spec.and_then(|spec| spec.restart_policy.as_deref()) {
        _ if facts.pod.metadata.deletion_timestamp.is_some() => "Never",
        policy => policy.unwrap_or("Always"),
    };
    let failed_init = init
        .iter()
        .filter(|record| !record.is_sidecar)
        .any(|record| matches!(&record.state, State::Terminated(end) if end.exit_code != 0));
    if failed_init && policy == "Never" {
        return "Failed";
    }
    let counts = count(main);
    if !initialized(init) && counts.running == 0 && counts.stopped == 0 || counts.waiting > 0 {
        return "Pending";
    }
    if counts.running > 0 {
        return "Running";
    }
    match policy {
        "Always" => "Running",
        _ if counts.stopped == counts.succeeded => "Succeeded",
        "Never" => "Failed",
        _ => "Running",
    }
}

/// Init containers are through: the ordinary ones with success, sidecars are started.
fn initialized(init: &[&Record]) -> bool {
    incomplete(init).is_empty()
}

fn incomplete<'a>(init: &[&'a Record]) -> Vec<&'a str> {
    let complete = |record: &Record| {
        let ended_well = matches!(&record.state, State::Terminated(end) if end.exit_code == 0);
        ended_well || record.is_sidecar && record.started
    };
    init.iter().filter(|record| !complete(record)).map(|record| record.name.as_str()).collect()
}

type Judgement = (bool, Option<&'static str>, Option<String>);

fn conditions(facts: &Facts<'_>, phase: &str, init: &[&Record], main: &[&Record]) -> Vec<PodCondition> {
    let ready = containers_ready(phase, init, main);
    // Readiness gates are others' conditions on the pod, all of which must be true.
    let closed = closed_gates(facts.pod);
    let pod_ready = match (&ready, closed.is_empty()) {
        ((true, ..), false) => {
            let message = format!(
                "corresponding condition of pod readiness gate {} is not \"True\"",
                closed.join(", ")
            );
            (false, Some("ReadinessGatesNotReady"), Some(message))
        }
        _ => ready.clone(),
    };
    let judgements = [
        ("PodReadyToStartContainers", (facts.address.is_some() && facts.failed.is_none(), None, None)),
        ("Initialized", initialized_condition(phase, init, main)),
        ("Ready", pod_ready),
        ("ContainersReady", ready),
        ("PodScheduled", (true, None, None)),
    ];
    judgements.into_iter().map(|(kind, judgement)| condition(facts, kind, judgement)).collect()
}

fn closed_gates(pod: &Pod) -> Vec<String> {
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let open =
        |kind: &str| conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True");
    gates
        .filter(|gate| !open(&gate.condition_type))
        .map(|gate| format!("\"{}\"", gate.condition_type))
        .collect()
}

fn initialized_condition(phase: &str, init: &[&Record], main: &[&Record]) -> Judgement {
    let counts = count(main);
    let names = incomplete(init);
    if phase == "Succeeded" {
        return (true, Some("PodCompleted"), None);
    }
    if names.is_empty() || counts.running + counts.stopped > 0 {
        return (true, None, None);
    }
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    (false, Some("ContainersNotInitialized"), Some(message))
}

fn containers_ready(phase: &str, init: &[&Record], main: &[&Record]) -> Judgement {
    match phase {
        "Succeeded" => return (false, Some("PodCompleted"), None),
        "Failed" => return (false, Some("PodFailed"), None),
        _ => {}
    }
    let sidecars = init.iter().filter(|record| record.is_sidecar);
    let unready: Vec<&str> =
        sidecars.chain(main).filter(|record| !record.ready).map(|record| record.name.as_str()).collect();
    if unready.is_empty() {
        return (true, None, None);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    (false, Some("ContainersNotReady"), Some(message))
}

fn condition(facts: &Facts<'_>, kind: &str, (holds, reason, message): Judgement) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    let known = facts.pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let known = known.and_then(|known| known.iter().find(|condition| condition.type_ == kind));
    let since =
        known.filter(|known| known.status == status).and_then(|known| known.last_transition_time.clone());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message,
        last_transition_time: Some(since.unwrap_or_else(|| Time(seconds(facts.now)))),
        ..PodCondition::default()
    }
}

fn container_status(record: &Record) -> ContainerStatus {
    let image_id = record.id.as_ref().map(|_| format!("sluice://built-in/{}", record.image));
    ContainerStatus {
        name: record.name.clone(),
        image: record.image.clone(),
        image_id: image_id.unwrap_or_default(),
        container_id: record.id.clone(),
        ready: record.ready || record.is_init && !record.is_sidecar && ended_well(&record.state),
        started: Some(record.started),
        restart_count: record.restarts,
        state: Some(state(&record.state)),
        last_state: Some(record.last.as_ref().map_or_else(ContainerState::default, terminated)),
        ..ContainerStatus::default()
    }
}

fn ended_well(state: &State) -> bool {
    matches!(state, State::Terminated(end) if end.exit_code == 0)
}

fn state(state: &State) -> ContainerState {
    match state {
        State::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting {
                reason: Some((*reason).to_owned()),
                message: message.clone(),
            }),
            ..ContainerState::default()
        },
        State::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(seconds(*since))) }),
            ..ContainerState::default()
        },
        State::Terminated(end) => terminated(end),
    }
}

fn terminated(end: &Terminated) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: end.exit_code,
            reason: Some(end.reason.to_owned()),
            message: end.message.clone(),
            started_at: end.started.map(|time| Time(seconds(time))),
            finished_at: Some(Time(seconds(end.finished))),
            container_id: end.container_id.clone(),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

#[cfg(test)]
mod tests;
