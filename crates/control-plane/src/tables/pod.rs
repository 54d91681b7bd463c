//! Pods: above all the STATUS column, which sums up phase, containers and deletion in one word.

use jiff::Timestamp;
use objects::duration::{age, human_duration};
use serde_json::{Value, json};

use super::{Source, list, number, or, text};

/// Row conditions, by which `kubectl get` knows pods that are done.
pub(super) fn conditions(pod: &Value) -> Vec<Value> {
    let message = match text(&pod["status"], "phase") {
        "Succeeded" => "The pod has completed successfully.",
        "Failed" => "The pod failed.",
        _ => return Vec::new(),
    };
    let reason = &pod["status"]["phase"];
    vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}

pub(super) fn cells(source: &Source<'_>) -> Vec<Value> {
    let (spec, status) = (source.spec(), source.status());
    let summary = Summary::of(source);
    let first_ip = list(status, "podIPs").first().map_or("", |ip| text(ip, "ip"));
    let none = |text: &str| json!(or(text, "<none>"));
    vec![
        source.name(),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(summary.restarts(source.now)),
        json!(age(&source.metadata()["creationTimestamp"], source.now)),
        none(first_ip),
        none(text(spec, "nodeName")),
        none(text(status, "nominatedNodeName")),
        json!(readiness_gates(spec, status)),
    ]
}

fn readiness_gates(spec: &Value, status: &Value) -> String {
    let gates = list(spec, "readinessGates");
    let open = |gate: &&Value| condition(status, text(gate, "conditionType")) == Some("True");
    match gates.len() {
        0 => "<none>".to_owned(),
        all => format!("{}/{all}", gates.iter().filter(open).count()),
    }
}

fn condition<'v>(status: &'v Value, kind: &str) -> Option<&'v str> {
    let mut conditions = list(status, "conditions").iter();
    conditions.find(|condition| text(condition, "type") == kind).map(|condition| text(condition, "status"))
}

/// What the containers of a pod come to.
#[derive(Default)]
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

/// A container that stopped: its reason, or what ended it.
fn termination(terminated: &Value, prefix: &str) -> String {
    match (text(terminated, "reason"), number(terminated, "signal")) {
        ("", 0) => format!("{prefix}ExitCode:{}", number(terminated, "exitCode")),
        ("", signal) => format!("{prefix}Signal:{signal}"),
        (reason, _) => format!("{prefix}{reason}"),
    }
}

fn finished(container: &Value) -> Option<Timestamp> {
    text(&container["lastState"]["terminated"], "finishedAt").parse().ok()
}

impl Summary {
    fn of(source: &Source<'_>) -> Self {
        let (spec, status) = (source.spec(), source.status());
        let mut summary = Self { reason: initial_reason(status), ..Self::default() };
        let sidecars: Vec<&str> = list(spec, "initContainers")
            .iter()
            .filter(|container| text(container, "restartPolicy") == "Always")
            .map(|container| text(container, "name"))
            .collect();
        summary.total = list(spec, "containers").len() + sidecars.len();
        let initializing = summary.init_containers(spec, status, &sidecars);
        if !initializing || condition(status, "Initialized") == Some("True") {
            summary.count_restarts(list(status, "initContainerStatuses"), |name| sidecars.contains(&name));
            summary.containers(status);
        }
        summary.deletion(source);
        summary
    }

    /// True if an init container is not done.
    fn init_containers(&mut self, spec: &Value, status: &Value, sidecars: &[&str]) -> bool {
        let statuses = list(status, "initContainerStatuses");
        self.count_restarts(statuses, |_| true);
        for (index, container) in statuses.iter().enumerate() {
            let (terminated, waiting) = (&container["state"]["terminated"], &container["state"]["waiting"]);
            if terminated.is_object() && number(terminated, "exitCode") == 0 {
                continue;
            }
            if sidecars.contains(&text(container, "name")) && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            self.reason = match text(waiting, "reason") {
                _ if terminated.is_object() => termination(terminated, "Init:"),
                "" | "PodInitializing" => format!("Init:{index}/{}", list(spec, "initContainers").len()),
                reason => format!("Init:{reason}"),
            };
            return true;
        }
        false
    }

    /// Sums up restarts of those containers only.
    fn count_restarts(&mut self, statuses: &[Value], counts: impl Fn(&str) -> bool) {
        let counted = || statuses.iter().filter(|container| counts(text(container, "name")));
        self.restarts = counted().map(|container| number(container, "restartCount")).sum();
        self.last_restart = counted().filter_map(finished).max();
    }

    fn containers(&mut self, status: &Value) {
        let (mut running, mut failure) = (false, String::new());
        for container in list(status, "containerStatuses").iter().rev() {
            self.restarts += number(container, "restartCount");
            self.last_restart = self.last_restart.max(finished(container));
            let state = &container["state"];
            let (waiting, terminated) = (text(&state["waiting"], "reason"), &state["terminated"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if terminated.is_object() {
                self.reason = termination(terminated, "");
                if number(terminated, "exitCode") != 0 {
                    failure.clone_from(&self.reason);
                }
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            if running && condition(status, "Ready") == Some("True") {
                "Running".clone_into(&mut self.reason);
            } else if !failure.is_empty() {
                self.reason = failure;
            } else if running {
                "NotReady".clone_into(&mut self.reason);
            }
        }
    }

    fn deletion(&mut self, source: &Source<'_>) {
        if source.metadata()["deletionTimestamp"].is_null() {
            return;
        }
        let status = source.status();
        if text(status, "reason") == "NodeLost" {
            "Unknown".clone_into(&mut self.reason);
        } else if !matches!(text(status, "phase"), "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut self.reason);
        }
    }

    fn restarts(&self, now: Timestamp) -> String {
        match self.last_restart {
            Some(time) if self.restarts != 0 => {
                format!("{} ({} ago)", self.restarts, human_duration(now.duration_since(time)))
            }
            _ => self.restarts.to_string(),
        }
    }
}

fn initial_reason(status: &Value) -> String {
    let gated = list(status, "conditions").iter().any(|condition| {
        text(condition, "type") == "PodScheduled" && text(condition, "reason") == "SchedulingGated"
    });
    if gated {
        "SchedulingGated".to_owned()
    } else {
        or(text(status, "reason"), text(status, "phase")).to_owned()
    }
}
