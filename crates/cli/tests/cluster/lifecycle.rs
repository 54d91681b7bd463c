//! Starting, stopping, killing, starting again.

use std::time::Duration;

use nix::sys::signal::Signal;
use testnet::harness::Trial;

use crate::program::{Cluster, Place, as_both, eventually, shown};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = as_both("killed_and_started_again", killed_and_started_again);
    trials.extend(as_both("two_side_by_side", two_side_by_side));
    trials.extend(as_both("node_process_dies", node_process_dies));
    trials.extend(as_both("falsely_called_not_ready", falsely_called_not_ready));
    trials.extend(as_both("program_file_is_replaced", program_file_is_replaced));
    trials.extend(as_both("interrupted_at_any_moment", interrupted_at_any_moment));
    trials.extend(as_both("terminal_is_closed", terminal_is_closed));
    trials
}

fn create_podinfo(cluster: &Cluster<'_>) -> String {
    cluster
        .sluice(&["create", "deployment", "podinfo", "--image=podinfo", "--replicas=2", "--port=9898"])
        .ok();
    cluster.sluice(&["expose", "deployment", "podinfo", "--port=80", "--target-port=9898"]).ok();
    cluster.sluice(&["wait", "--for=condition=Available", "deployment/podinfo", "--timeout=20s"]).ok();
    cluster_ip(cluster)
}

fn cluster_ip(cluster: &Cluster<'_>) -> String {
    cluster.sluice(&["get", "service", "podinfo", "-o", "jsonpath={.metadata.uid} {.spec.clusterIP}"]).ok()
}

fn reaches_podinfo(cluster: &Cluster<'_>) {
    cluster.sluice(&["run", "client", "--image=nginx"]).ok();
    cluster.sluice(&["wait", "--for=condition=Ready", "pod/client", "--timeout=20s"]).ok();
    eventually("podinfo answers by name", 10, || {
        let shown = cluster.sluice(&["exec", "client", "--", "curl", "-sS", "--max-time", "2", "podinfo"]);
        shown.stdout.contains("\"hostname\": \"podinfo-")
    });
}

fn killed_and_started_again(place: &Place) {
    let mut cluster = Cluster::start(place, "first", &["--data-dir", "data"]);
    let before = create_podinfo(&cluster);
    let second = shown(place.sluice(&["up", "--api-port", "0", "--data-dir", "data"]).output());
    assert_eq!(second.code, Some(1), "a second cluster on the same folder is refused");
    assert!(second.stderr.contains("data") && second.stderr.contains("in use"), "{}", second.stderr);

    cluster.signal(Signal::SIGKILL);
    cluster.end();
    place.nothing_is_left();

    let cluster = Cluster::start(place, "again", &["--data-dir", "data"]);
    assert_eq!(cluster_ip(&cluster), before, "the same object and address");
    cluster.sluice(&["wait", "--for=condition=Available", "deployment/podinfo", "--timeout=20s"]).ok();
    reaches_podinfo(&cluster);
    drop(cluster);
    place.nothing_is_left();
}

fn two_side_by_side(place: &Place) {
    let one = Cluster::start(place, "one", &["--nodes", "1"]);
    let other = Cluster::start(place, "other", &["--nodes", "1"]);
    create_podinfo(&one);
    create_podinfo(&other);
    reaches_podinfo(&one);
    one.sluice(&["delete", "service", "podinfo"]).ok();
    reaches_podinfo(&other);
    drop((one, other));
    place.nothing_is_left();
}

fn node_process_dies(place: &Place) {
    let cluster = Cluster::start(place, "dies", &["--nodes", "1"]);
    create_podinfo(&cluster);
    let node = place.processes().into_iter().find(|pid| {
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        arguments.contains("node\0run")
    });
    let node = nix::unistd::Pid::from_raw(node.expect("a node's process").cast_signed());
    nix::sys::signal::kill(node, Signal::SIGKILL).expect("killing the node");
    std::thread::sleep(Duration::from_millis(300));
    cluster.sluice(&["wait", "--for=condition=Ready", "node/worker-1", "--timeout=20s"]).ok();
    cluster.sluice(&["wait", "--for=condition=Available", "deployment/podinfo", "--timeout=20s"]).ok();
    reaches_podinfo(&cluster);
}

/// A node that lives, and its pods, contradict whoever says otherwise.
fn falsely_called_not_ready(place: &Place) {
    let cluster = Cluster::start(place, "false", &["--nodes", "1"]);
    create_podinfo(&cluster);
    let names = cluster.sluice(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]).ok();
    let pod = names.split_whitespace().next().expect("a pod");
    // Twice in a row: the second answer waits for its turn, and comes.
    for _ in 0..2 {
        set_ready(&cluster, "node", "worker-1", "Unknown");
        set_ready(&cluster, "pod", pod, "False");
        becomes_ready(&cluster, "node", "worker-1");
        becomes_ready(&cluster, "pod", pod);
    }
    let uid = || cluster.sluice(&["get", "node", "worker-1", "-o", "jsonpath={.metadata.uid}"]).stdout;
    let before = uid();
    cluster.sluice(&["delete", "node", "worker-1"]).ok();
    becomes_ready(&cluster, "node", "worker-1");
    assert_ne!(uid(), before, "a node of its own");
    reaches_podinfo(&cluster);
}

fn set_ready(cluster: &Cluster<'_>, kind: &str, name: &str, status: &str) {
    let patch = format!(r#"{{"status":{{"conditions":[{{"type":"Ready","status":"{status}"}}]}}}}"#);
    cluster.sluice(&["patch", kind, name, "--subresource=status", "-p", &patch]).ok();
}

fn becomes_ready(cluster: &Cluster<'_>, kind: &str, name: &str) {
    eventually("ready again", 5, || {
        let path = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
        cluster.sluice(&["get", kind, name, "-o", path]).stdout == "True"
    });
}

/// A new build while the cluster runs: a pod starts from what is running, or says why it cannot.
fn program_file_is_replaced(place: &Place) {
    let cluster = Cluster::start(place, "replaced", &["--nodes", "1"]);
    let (program, new) = (place.program(), place.folder.join("bin/new"));
    std::fs::copy(&program, &new).expect("copying the program");
    std::fs::rename(&new, &program).expect("replacing the program");
    cluster.sluice(&["run", "late", "--image=nginx"]).ok();
    let told = "the program file was replaced while the cluster runs; restart it";
    eventually("the pod runs, or says why it cannot", 10, || {
        let shown = cluster.sluice(&["get", "pod", "late", "-o", "json"]).ok();
        shown.contains(r#""running": {"#) || shown.contains(told)
    });
}

fn interrupted_at_any_moment(place: &Place) {
    // A shell starts its background jobs with SIGINT ignored, which is inherited until the program asks for it.
    let (signal, expected) = if ignores_interrupt() { (Signal::SIGTERM, 143) } else { (Signal::SIGINT, 130) };
    for milliseconds in [1, 10, 30, 60, 100, 150, 250, 400, 700] {
        let mut child =
            place.sluice(&["demo"]).stdout(std::process::Stdio::null()).spawn().expect("starting the demo");
        std::thread::sleep(Duration::from_millis(milliseconds));
        let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
        nix::sys::signal::kill(pid, signal).expect("interrupting");
        let code = child.wait().expect("waiting for the demo").code();
        // Before its handler exists the signal itself ends the program: no code then.
        assert!(code.is_none_or(|code| code == expected), "{milliseconds} ms: {code:?}");
        place.nothing_is_left();
    }
}

/// Whether this process ignores SIGINT (bit 1 of `SigIgn` in proc_pid_status(5)).
fn ignores_interrupt() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
}

/// SIGHUP stops a cluster in order, as Ctrl-C does.
fn terminal_is_closed(place: &Place) {
    let mut cluster = Cluster::start(place, "closed", &["--nodes", "1"]);
    cluster.signal(Signal::SIGHUP);
    assert_eq!(cluster.end(), Some(0));
    place.nothing_is_left();
}
