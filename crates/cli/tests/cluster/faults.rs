//! Bad input and hostile surroundings: one clear error, and nothing changes.

use std::net::TcpListener;

use testnet::harness::Trial;

use crate::program::{Cluster, Place, Shown, Who, as_both, shown, trial};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = as_both("bad_flags", bad_flags);
    trials.push(trial("bad_objects".into(), who(), bad_objects));
    trials.extend(as_both("data_directories", data_directories));
    trials.push(trial("damaged_data".into(), who(), damaged_data));
    trials.push(trial("no_user_namespaces".into(), Who::Root, no_user_namespaces));
    trials
}

fn who() -> Who {
    if nix::unistd::geteuid().is_root() { Who::Root } else { Who::Ordinary }
}

#[track_caller]
fn refused(shown: &Shown, code: i32, words: &[&str]) {
    assert_eq!(shown.code, Some(code), "{shown:?}");
    for word in words {
        assert!(shown.stderr.contains(word), "{word:?} is missing in: {}", shown.stderr);
    }
    assert!(!shown.stderr.contains("panicked"), "{}", shown.stderr);
}

fn bad_flags(place: &Place) {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("its address").port().to_string();
    for (args, words) in [
        (vec!["up", "--api-port", &port], vec!["--api-port", "127.0.0.1", "in use"]),
        (vec!["up", "--nodes", "0"], vec!["--nodes"]),
        (vec!["up", "--service-cidr", "10.96.0.1/16"], vec!["--service-cidr", "10.96.0.0/16"]),
        (vec!["up", "--service-cidr", "10.244.0.0/16"], vec!["overlaps"]),
        (vec!["up", "--pod-cidr", "127.0.0.0/16"], vec!["--pod-cidr", "127.0.0.0/8"]),
        (vec!["up", "--dns-domain", "no such"], vec!["--dns-domain"]),
        (vec!["up", "--kubeconfig", "/proc/nowhere/file"], vec!["/proc/nowhere"]),
        (vec!["dump", "everything"], vec!["everything", "forwarding"]),
        (vec!["get", "pods", "--kubeconfig", "/nonexistent"], vec!["/nonexistent"]),
    ] {
        refused(&shown(place.sluice(&args).output()), 1, &words);
        place.nothing_is_left();
    }
}

fn bad_objects(place: &Place) {
    let cluster = Cluster::start(place, "faults", &["--nodes", "1", "--service-cidr", "10.96.0.0/27"]);
    let service = |name: &str, spec: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
    };
    let before = cluster.sluice(&["get", "all", "-A", "-o", "name"]).ok();
    for (manifest, words) in [
        ("apiVersion: v1\nkind: Service\n metadata: x\n".to_owned(), &["bad.yaml"][..]),
        ("apiVersion: v9\nkind: Gadget\nmetadata: {name: x}\n".into(), &["Gadget", "v9"]),
        (service("x", "prots: []"), &["spec.prots"]),
        (service("X_y", "ports: [{port: 80}]"), &["metadata.name", "X_y"]),
        (service("x", "ports: [{port: 0}]"), &["spec.ports[0].port", "between 1 and 65535"]),
        (service("x", "ports: [{port: 70000}]"), &["spec.ports[0].port"]),
        (service("x", "ports: [{port: 80}, {port: 81}]"), &["spec.ports[0].name: Required value"]),
        (
            service("x", "ports: [{name: a, port: 80}, {name: b, port: 80}]"),
            &["spec.ports[1]: Duplicate value"],
        ),
        (
            service("x", "clusterIP: 10.97.0.1, ports: [{port: 80}]"),
            &["not in the valid range", "10.96.0.0/27"],
        ),
        (service("x", "clusterIP: 10.96.0.10, ports: [{port: 80}]"), &["provided IP is already allocated"]),
    ] {
        std::fs::write(place.folder.join("bad.yaml"), &manifest).expect("writing the manifest");
        refused(&cluster.sluice(&["apply", "-f", "bad.yaml"]), 1, words);
    }
    assert_eq!(cluster.sluice(&["get", "all", "-A", "-o", "name"]).ok(), before, "nothing changed");
    refused(&cluster.sluice(&["exec", "nobody", "--", "true"]), 1, &["pods \"nobody\" not found"]);
    full_subnet(&cluster);
}

/// A /27 has 30 addresses, of which two are taken from the start.
fn full_subnet(cluster: &Cluster<'_>) {
    for number in 0..28 {
        cluster.sluice(&["create", "service", "clusterip", &format!("s{number}"), "--tcp=80"]).ok();
    }
    let full = cluster.sluice(&["create", "service", "clusterip", "one-too-many", "--tcp=80"]);
    refused(&full, 1, &["range is full"]);
    cluster.sluice(&["delete", "service", "s7"]).ok();
    cluster.sluice(&["create", "service", "clusterip", "fits-now", "--tcp=80"]).ok();
}

fn data_directories(place: &Place) {
    let folder = place.folder.join("theirs");
    std::fs::create_dir(&folder).expect("a folder");
    std::fs::write(folder.join("thesis.txt"), "years of work").expect("a file");
    refused(
        &shown(place.sluice(&["up", "--api-port", "0", "--data-dir", "theirs"]).output()),
        1,
        &["theirs"],
    );
    assert_eq!(std::fs::read_dir(&folder).expect("reading it").count(), 1, "nothing was added");
    place.nothing_is_left();
}

/// Each file is damaged in turn and then restored; the cluster starts again at the end.
fn damaged_data(place: &Place) {
    let data = place.folder.join("data");
    let mut cluster = Cluster::start(place, "first", &["--nodes", "1", "--data-dir", "data"]);
    cluster.sluice(&["create", "namespace", "kept"]).ok();
    cluster.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(cluster.end(), Some(0));
    let up = || shown(place.sluice(&["up", "--api-port", "0", "--data-dir", "data"]).output());
    for (file, damage) in
        [("store.redb", Some("no database")), ("ca.crt", Some("no certificate")), ("ca.key", None)]
    {
        let path = data.join(file);
        let whole = std::fs::read(&path).expect("reading the file");
        match damage {
            Some(text) => std::fs::write(&path, text).expect("damaging the file"),
            None => std::fs::remove_file(&path).expect("removing the file"),
        }
        refused(&up(), 1, &[file, "damaged", "restore it from a copy"]);
        std::fs::write(&path, whole).expect("restoring the file");
    }
    let cluster = Cluster::start(place, "again", &["--nodes", "1", "--data-dir", "data"]);
    cluster.sluice(&["get", "namespace", "kept"]).ok();
    drop(cluster);
    place.nothing_is_left();
}

/// As on a machine that refuses user namespaces: the sysctl is set to 0 in a parent namespace, and the program runs
/// there without capabilities.
fn no_user_namespaces(place: &Place) {
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \"$0\" \"$@\"";
    let program = place.program();
    for args in [["demo"], ["up"]] {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-c", script]).arg(&program).args(args);
        command.env("XDG_RUNTIME_DIR", &place.folder);
        refused(&shown(command.output()), 1, &["user namespace", "max_user_namespaces"]);
    }
    place.nothing_is_left();
}
