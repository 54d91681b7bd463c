//! Real kubectl, of every version that is found, does what people do with it daily.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]
#![allow(clippy::print_stderr, reason = "a failure of one version says which")]

#[allow(dead_code, reason = "what other requests than kubectl's need")]
#[path = "api/server.rs"]
mod server;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Output, Stdio};

use testnet::harness;

use crate::server::Server;

fn main() -> ExitCode {
    harness::run(testnet::trials![
        the_lab,
        apply_creates_changes_and_leaves_alone,
        mistakes_are_explained,
        describe_wait_and_the_rest_of_the_daily_verbs,
        a_watch_prints_what_happens,
    ])
}

/// A kubectl that talks to a test's server.
struct Kubectl<'a> {
    program: PathBuf,
    server: &'a Server,
}

impl Kubectl<'_> {
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--kubeconfig").arg(self.server.kubeconfig()).args(line.split_whitespace());
        command.env("HOME", &self.server.directory).env_remove("KUBECONFIG");
        command.stdin(Stdio::null());
        command
    }

    async fn run(&self, line: &str) -> Output {
        let mut command = self.command(line);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// What it prints; it must succeed.
    async fn ok(&self, line: &str) -> String {
        let output = self.run(line).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// What it complains of; it must fail.
    async fn fails(&self, line: &str) -> String {
        let output = self.run(line).await;
        assert!(!output.status.success(), "{line} succeeded: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.server.directory.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }
}

/// The kubectls of this machine: `$KUBECTL`, and what lies beside the one in the path as `kubectl.1.NN`.
fn programs() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).filter_map(|folder| {
        let kubectl = folder.join("kubectl").canonicalize().ok()?;
        kubectl.parent().map(PathBuf::from)
    });
    let beside =
        folders.take(1).flat_map(|folder| ["1.30", "1.33"].map(|v| folder.join(format!("kubectl.{v}"))));
    let asked = std::env::var_os("KUBECTL").map(PathBuf::from);
    asked.into_iter().chain(beside).filter(|program| program.exists()).collect()
}

/// Runs `test` with each kubectl against a server of its own.
fn with_each(test: impl AsyncFn(&Kubectl<'_>)) {
    let programs = programs();
    if programs.is_empty() {
        harness::skip("no kubectl is installed ($KUBECTL, or kubectl.1.30 and kubectl.1.33 beside kubectl)");
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for program in programs {
        eprintln!("with {}", program.display());
        runtime.block_on(async {
            let server = Server::start().await;
            test(&Kubectl { program, server: &server }).await;
        });
    }
}

fn the_lab() {
    with_each(async |kubectl| {
        let created = kubectl.ok("create deployment podinfo --image=podinfo --replicas=3 --port=9898").await;
        assert_eq!(created, "deployment.apps/podinfo created\n");
        let manifest = kubectl
            .ok("expose deployment podinfo --port 80 --target-port 9898 --dry-run=client -o yaml")
            .await;
        let file = kubectl.file("podinfo-clusterip.yaml", &manifest);
        assert_eq!(kubectl.ok(&format!("apply -f {file}")).await, "service/podinfo created\n");
        let service = kubectl.ok("get service -l app=podinfo -o name").await;
        assert_eq!(service, "service/podinfo\n");
        assert_eq!(kubectl.ok("run nginx --image=nginx").await, "pod/nginx created\n");
        assert_eq!(
            kubectl.ok("scale deployment podinfo --replicas=1").await,
            "deployment.apps/podinfo scaled\n"
        );
        assert_eq!(kubectl.ok("get deployment podinfo -o jsonpath={.spec.replicas}").await, "1");
        assert_eq!(
            kubectl.ok("label deployment podinfo tier=front").await,
            "deployment.apps/podinfo labeled\n"
        );
        // kubectl 1.34 and later add the namespace.
        let deleted = kubectl.ok("delete pod nginx").await;
        assert!(deleted.starts_with("pod \"nginx\" deleted"), "{deleted}");
        kubectl.ok("delete service,deployment podinfo").await;
        assert_eq!(kubectl.ok("get all").await, "");
    });
}

const DEPLOYMENT: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: podinfo, env: [{name: A, value: '1'}]}
";

fn apply_creates_changes_and_leaves_alone() {
    with_each(async |kubectl| {
        let file = kubectl.file("web.yaml", DEPLOYMENT);
        let apply = format!("apply -f {file}");
        assert_eq!(kubectl.ok(&apply).await, "deployment.apps/web created\n");
        assert_eq!(kubectl.ok(&apply).await, "deployment.apps/web unchanged\n");
        kubectl.file(
            "web.yaml",
            &DEPLOYMENT.replace("name: A", "name: B").replace("replicas: 2", "replicas: 4"),
        );
        assert!(kubectl.run(&format!("diff -f {file}")).await.status.code() == Some(1));
        assert_eq!(
            kubectl.ok(&format!("{apply} --dry-run=server")).await,
            "deployment.apps/web configured (server dry run)\n"
        );
        assert_eq!(kubectl.ok(&apply).await, "deployment.apps/web configured\n");
        let env =
            kubectl.ok("get deploy web -o jsonpath={.spec.template.spec.containers[0].env[*].name}").await;
        assert_eq!(env, "B");
        assert_eq!(
            kubectl.ok("set image deployment/web main=nginx").await,
            "deployment.apps/web image updated\n"
        );
        assert_eq!(kubectl.ok("get deploy web -o jsonpath={.metadata.generation}").await, "3");
        kubectl.ok(&format!("replace -f {file}")).await;
        kubectl.ok("annotate deployment web note=x").await;
        kubectl.ok(&format!("delete -f {file}")).await;
    });
}

fn mistakes_are_explained() {
    with_each(async |kubectl| {
        let wrong = kubectl.file("wrong.yaml", &DEPLOYMENT.replace("replicas: 2", "replcas: 2"));
        let complaint = kubectl.fails(&format!("create -f {wrong}")).await;
        assert!(complaint.contains("strict decoding error: unknown field \"spec.replcas\""), "{complaint}");
        let complaint = kubectl.fails("get pod none").await;
        assert!(complaint.contains("Error from server (NotFound): pods \"none\" not found"), "{complaint}");
        let complaint = kubectl.fails("get widgets").await;
        assert!(complaint.contains("the server doesn't have a resource type \"widgets\""), "{complaint}");
        kubectl.ok("create configmap a --from-literal=k=v").await;
        let complaint = kubectl.fails("create configmap a --from-literal=k=v").await;
        assert!(complaint.contains("configmaps \"a\" already exists"), "{complaint}");
        let complaint = kubectl.fails("create configmap b --from-literal=k=v -n nowhere").await;
        assert!(complaint.contains("namespaces \"nowhere\" not found"), "{complaint}");
        let complaint = kubectl.fails("apply --server-side -f /dev/null").await;
        assert!(!complaint.is_empty());
    });
}

fn describe_wait_and_the_rest_of_the_daily_verbs() {
    with_each(async |kubectl| {
        kubectl.ok("create service clusterip web --tcp=80:8080").await;
        assert!(kubectl.ok("describe service web").await.contains("TargetPort:"));
        kubectl.ok("create deployment web --image=podinfo").await;
        assert!(kubectl.ok("describe deployment web").await.contains("RollingUpdateStrategy:"));
        kubectl.ok("create namespace team").await;
        assert!(kubectl.ok("describe namespace team").await.contains("No resource quota."));
        let resources = kubectl.ok("api-resources --no-headers").await;
        assert!(resources.lines().any(|line| line.starts_with("deployments")), "{resources}");
        kubectl.ok("run solo --image=podinfo --labels=x=y").await;
        kubectl.ok("wait pod/solo --for=jsonpath={.status.phase}=Pending --timeout=5s").await;
        kubectl.ok("delete pod -l x=y").await;
        kubectl.ok("cluster-info").await;
        kubectl.ok("version").await;
        kubectl.ok("get events").await;
    });
}

fn a_watch_prints_what_happens() {
    with_each(async |kubectl| {
        kubectl.ok("run one --image=podinfo").await;
        let mut child = kubectl.command("get pods -w --no-headers").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let reader = tokio::task::spawn_blocking(move || {
            use std::io::BufRead;
            std::io::BufReader::new(stdout).lines().take(2).map(Result::unwrap).collect::<Vec<_>>()
        });
        kubectl.ok("run two --image=podinfo").await;
        let lines = tokio::time::timeout(std::time::Duration::from_secs(20), reader).await;
        child.kill().unwrap();
        child.wait().unwrap();
        let lines = lines.expect("kubectl printed two lines").unwrap();
        assert!(lines[0].starts_with("one ") && lines[1].starts_with("two "), "{lines:?}");
    });
}
