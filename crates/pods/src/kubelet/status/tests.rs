//! Phases and conditions of pods, as tables.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec, PodStatus};

use super::super::record::{Record, State, Terminated};
use super::{Facts, compute, contested};

fn running(ready: bool) -> Record {
    let mut record = Record::new("main".to_owned(), "podinfo".to_owned(), false, false);
    record.state = State::Running { since: Timestamp::UNIX_EPOCH };
    record.started = true;
    record.ready = ready;
    record
}

fn waiting(again: bool) -> Record {
    let mut record = Record::new("main".to_owned(), "podinfo".to_owned(), false, false);
    record.last = again.then(|| end(1));
    record
}

fn ended(code: i32) -> Record {
    let mut record = running(true);
    record.terminate(end(code));
    record
}

fn end(exit_code: i32) -> Terminated {
    Terminated {
        exit_code,
        reason: "Error",
        message: None,
        started: None,
        finished: Timestamp::UNIX_EPOCH,
        container_id: None,
    }
}

fn init(mut record: Record, sidecar: bool) -> Record {
    record.name = "init".to_owned();
    record.is_init = true;
    record.is_sidecar = sidecar;
    record
}

fn status(policy: &str, records: &[Record]) -> k8s_openapi::api::core::v1::PodStatus {
    let spec = PodSpec { restart_policy: Some(policy.to_owned()), ..PodSpec::default() };
    compute(&Facts {
        pod: &Pod { spec: Some(spec), ..Pod::default() },
        records,
        started: Timestamp::UNIX_EPOCH,
        node: [172, 18, 0, 2].into(),
        address: Some([10, 244, 1, 2].into()),
        now: Timestamp::UNIX_EPOCH,
        failed: None,
    })
}

#[test]
fn phases() {
    let cases: [(&str, Vec<Record>, &str); 14] = [
        ("Always", vec![waiting(false)], "Pending"),
        ("Always", vec![running(false)], "Running"),
        ("Always", vec![running(true), waiting(false)], "Pending"),
        ("Always", vec![waiting(true)], "Running"),
        ("Always", vec![ended(0)], "Running"),
        ("OnFailure", vec![ended(0)], "Succeeded"),
        ("OnFailure", vec![ended(1)], "Running"),
        ("OnFailure", vec![ended(0), ended(1)], "Running"),
        ("Never", vec![ended(0)], "Succeeded"),
        ("Never", vec![ended(1), ended(0)], "Failed"),
        ("Never", vec![ended(1), running(true)], "Running"),
        ("Never", vec![init(ended(1), false), waiting(false)], "Failed"),
        ("Always", vec![init(ended(1), false), waiting(false)], "Pending"),
        ("Always", vec![init(running(true), true), running(true)], "Running"),
    ];
    for (number, (policy, records, expected)) in cases.into_iter().enumerate() {
        assert_eq!(status(policy, &records).phase.as_deref(), Some(expected), "case {number}");
    }
}

#[test]
fn conditions() {
    type Case = (Vec<Record>, [(&'static str, Option<&'static str>); 3]);
    // Initialized, Ready, ContainersReady.
    let cases: [Case; 5] = [
        (vec![running(true)], [("True", None), ("True", None), ("True", None)]),
        (
            vec![running(false)],
            [("True", None), ("False", Some("ContainersNotReady")), ("False", Some("ContainersNotReady"))],
        ),
        (
            vec![init(running(false), false), waiting(false)],
            [
                ("False", Some("ContainersNotInitialized")),
                ("False", Some("ContainersNotReady")),
                ("False", Some("ContainersNotReady")),
            ],
        ),
        (vec![init(ended(0), false), running(true)], [("True", None), ("True", None), ("True", None)]),
        (
            vec![ended(0)],
            [
                ("True", Some("PodCompleted")),
                ("False", Some("PodCompleted")),
                ("False", Some("PodCompleted")),
            ],
        ),
    ];
    for (number, (records, expected)) in cases.into_iter().enumerate() {
        let conditions = status("Never", &records).conditions.expect("conditions");
        let found: Vec<_> = ["Initialized", "Ready", "ContainersReady"]
            .iter()
            .map(|kind| conditions.iter().find(|condition| condition.type_ == *kind).expect("condition"))
            .map(|condition| (condition.status.as_str(), condition.reason.as_deref()))
            .collect();
        assert_eq!(found, expected, "case {number}");
    }
}

#[test]
fn unready_containers_are_named() {
    let status = status("Always", &[running(false)]);
    let ready = &status.conditions.expect("conditions")[2];
    assert_eq!(ready.message.as_deref(), Some("containers with unready status: [main]"));
    let container = &status.container_statuses.expect("statuses")[0];
    assert_eq!((container.ready, container.started), (false, Some(true)));
}

#[test]
fn contested_is_what_this_node_writes() {
    let ours = status("Always", &[running(true)]);
    let with = |kind: &str, holds: &str| {
        let mut seen = ours.clone();
        let conditions = seen.conditions.get_or_insert_default();
        conditions.retain(|condition| condition.type_ != kind);
        let (type_, status) = (kind.to_owned(), holds.to_owned());
        conditions.push(PodCondition { type_, status, ..PodCondition::default() });
        seen
    };
    let lost = PodStatus { reason: Some("NodeLost".to_owned()), ..ours.clone() };
    let table = [
        ("as written", ours.clone(), false),
        ("a condition of others", with("example.com/gate", "True"), false),
        ("a condition of ours", with("Ready", "False"), true),
        ("a reason", lost, true),
        ("nothing", PodStatus::default(), true),
    ];
    for (what, seen, expected) in table {
        assert_eq!(contested(Some(&ours), Some(&seen)), expected, "{what}");
    }
}
