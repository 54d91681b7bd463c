//! The lab with real, unmodified kubectl, in every version that is found.

use std::path::{Path, PathBuf};
use std::process::Command;

use testnet::harness::{Outcome, Trial};

use crate::program::{Cluster, Place, Shown, Who, eventually, shown, trial};

/// Versions that the lab must work with.
const VERSIONS: [&str; 3] = ["1.30", "1.33", "1.37"];

pub(crate) fn trials() -> Vec<Trial> {
    VERSIONS
        .into_iter()
        .map(|version| match (find(version), version) {
            (None, _) => {
                Trial::new(name(version), move || Outcome::Skipped(format!("no kubectl {version} is found")))
            }
            (_, "1.30") => trial(name(version), who(), |place| lab(place, "1.30")),
            (_, "1.33") => trial(name(version), who(), |place| lab(place, "1.33")),
            _ => trial(name(version), who(), |place| lab(place, "1.37")),
        })
        .collect()
}

fn name(version: &str) -> String {
    format!("lab_with_kubectl_{version}")
}

fn who() -> Who {
    if nix::unistd::geteuid().is_root() { Who::Root } else { Who::Ordinary }
}

/// A kubectl of this minor version: `kubectl.1.NN` beside the one on the path, or `target/peers/kubectl`.
fn find(version: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let named = format!("kubectl.{version}");
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let beside = folders.iter().filter_map(|folder| folder.join("kubectl").canonicalize().ok());
    let beside = beside.filter_map(|file| Some(file.parent()?.join(&named)));
    let on_path = folders.iter().map(|folder| folder.join(&named));
    on_path
        .chain(beside)
        .chain([testnet::peers::folder().join("kubectl")])
        .find(|file| is_version(file, version))
}

fn is_version(file: &Path, version: &str) -> bool {
    let output = Command::new(file).args(["version", "--client"]).output();
    output.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&format!("v{version}.")))
}

/// kubectl against one cluster.
struct Kubectl<'a> {
    cluster: &'a Cluster<'a>,
    program: PathBuf,
}

impl Kubectl<'_> {
    fn run(&self, args: &[&str]) -> Shown {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("KUBECONFIG", &self.cluster.kubeconfig)
            .env("HOME", &self.cluster.place.folder);
        shown(command.current_dir(&self.cluster.place.folder).output())
    }

    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        self.run(args).ok()
    }
}

fn lab(place: &Place, version: &str) {
    let cluster = Cluster::start(place, "lab", &[]);
    let kubectl = Kubectl { cluster: &cluster, program: find(version).expect("found before") };
    kubectl.ok(&["create", "deployment", "podinfo", "--image=podinfo", "--replicas=3", "--port=9898"]);
    kubectl.ok(&["rollout", "status", "deployment/podinfo", "--timeout=20s"]);
    let expose = [
        "expose",
        "deployment",
        "podinfo",
        "--port",
        "80",
        "--target-port",
        "9898",
        "--dry-run=client",
        "-o",
        "yaml",
    ];
    let manifest = kubectl.ok(&expose);
    // `creationTimestamp: null`, which kubectl prints up to 1.33, is a change to itself on every apply.
    let again = if manifest.contains("creationTimestamp: null") { "configured" } else { "unchanged" };
    std::fs::write(place.folder.join("podinfo-clusterip.yaml"), manifest).expect("saving the manifest");
    assert_eq!(kubectl.ok(&["apply", "-f", "podinfo-clusterip.yaml"]), "service/podinfo created\n");
    assert_eq!(kubectl.ok(&["apply", "-f", "podinfo-clusterip.yaml"]), format!("service/podinfo {again}\n"));
    eventually("three endpoints", 10, || {
        let path = "jsonpath={.subsets[*].addresses[*].ip}";
        kubectl.ok(&["get", "endpoints", "podinfo", "-o", path]).split(' ').count() == 3
    });
    tables(&kubectl);
    client(&kubectl);
    kubectl.ok(&["scale", "deployment", "podinfo", "--replicas=1"]);
    eventually("one pod", 20, || {
        kubectl.ok(&["get", "pods", "-l", "app=podinfo", "-o", "name"]).lines().count() == 1
    });
    for described in [["describe", "service"], ["describe", "deployment"]] {
        assert!(kubectl.ok(&[described[0], described[1], "podinfo"]).contains("app=podinfo"));
    }
    assert!(kubectl.ok(&["logs", "deployment/podinfo"]).contains("9898"));
    kubectl.ok(&["delete", "service,deployment", "podinfo"]);
    eventually("no pods", 20, || kubectl.ok(&["get", "pods", "-l", "app=podinfo", "-o", "name"]).is_empty());
}

fn tables(kubectl: &Kubectl<'_>) {
    let shown = kubectl.ok(&["get", "service,endpoints", "-l", "app=podinfo"]);
    let lines: Vec<Vec<&str>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"], "{shown}");
    assert_eq!(
        (lines[1][0], lines[1][1], lines[1][3], lines[1][4]),
        ("service/podinfo", "ClusterIP", "<none>", "80/TCP")
    );
    assert!(lines[2].is_empty(), "{shown}");
    assert_eq!(lines[3], ["NAME", "ENDPOINTS", "AGE"], "{shown}");
    assert_eq!((lines[4][0], lines[4][1].split(',').count()), ("endpoints/podinfo", 3), "{shown}");
}

fn client(kubectl: &Kubectl<'_>) {
    kubectl.ok(&["run", "nginx", "--image=nginx"]);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/nginx", "--timeout=20s"]);
    let vip = kubectl.ok(&["get", "service", "podinfo", "-o", "jsonpath={.spec.clusterIP}"]);
    let names = ["podinfo", "podinfo.default", "podinfo.default.svc", "podinfo.default.svc.cluster.local"];
    for target in [vip.as_str()].into_iter().chain(names) {
        let answer = kubectl.ok(&["exec", "nginx", "--", "curl", "-sS", "--max-time", "3", target]);
        assert!(answer.contains("\"hostname\": \"podinfo-"), "{target}: {answer}");
    }
    assert_eq!(kubectl.run(&["exec", "nginx", "--", "sh", "-c", "exit 7"]).code, Some(7));
}
