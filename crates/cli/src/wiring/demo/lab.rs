//! The lab, step by step. Each step types what a user would type and claims what must then be true.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use super::claims::{Claim, Claims};
use super::screen::Screen;
use super::shell::{Shell, Typed};
use super::{Facts, outside, tracked, under_load};
use crate::wiring::route;

/// Longest wait for anything in the lab.
const PATIENCE: Duration = Duration::from_secs(20);
/// The manifest's file name, as in the lab.
const MANIFEST: &str = "podinfo-clusterip.yaml";
/// Requests after which each of three pods has answered; that one is missed has a chance of 3 × (2/3)^60 < 10⁻¹⁰.
const REQUESTS: usize = 60;

/// The lab on one cluster.
pub(crate) struct Lab {
    facts: Facts,
    pub(super) screen: Screen,
    pub(super) shell: Shell,
    claims: Claims,
}

impl Lab {
    pub(crate) fn new(facts: Facts, screen: Screen) -> anyhow::Result<Self> {
        let shell = Shell::new(screen.clone(), &facts.kubeconfig)?;
        Ok(Self { facts, screen, shell, claims: Claims::default() })
    }

    /// Performs all steps.
    pub(crate) fn run(mut self) -> anyhow::Result<Claims> {
        self.claims.times.push(("the API answers", self.facts.api_ready));
        self.nodes()?;
        self.deployment()?;
        self.manifest()?;
        let vip = self.service()?;
        self.client(vip)?;
        self.translation(vip)?;
        self.outside(vip)?;
        self.changes()?;
        Ok(self.claims)
    }

    /// Notes and shows a claim; what went wrong is the reason that it does not hold.
    pub(super) fn claim(&mut self, text: impl Into<String>, outcome: anyhow::Result<()>) {
        let claim = Claim { text: text.into(), failure: outcome.err().map(|error| format!("{error:#}")) };
        self.screen.claim(&claim);
        self.claims.claims.push(claim);
    }

    fn reached(&mut self, stage: &'static str) {
        self.claims.times.push((stage, self.facts.began.elapsed()));
    }

    fn nodes(&mut self) -> anyhow::Result<()> {
        let ready = |shell: &Shell| shell.json(&["get", "nodes"]).is_ok_and(|nodes| count_ready(&nodes) == 2);
        let reached = self.screen.wait("for two nodes", PATIENCE, || ready(&self.shell));
        self.reached("both nodes are Ready");
        self.shell.typed(&["get", "nodes", "-o", "wide"])?;
        let nodes = self.shell.json(&["get", "nodes"])?;
        let subnets: Vec<&str> = items(&nodes).filter_map(|node| node["spec"]["podCIDR"].as_str()).collect();
        let expected = ["10.244.1.0/24", "10.244.2.0/24"];
        let right = reached && subnets == expected;
        self.claim("two nodes are Ready, each with a pod subnet", check(right, || format!("{subnets:?}")));
        Ok(())
    }

    fn deployment(&mut self) -> anyhow::Result<()> {
        self.screen.heading("Three pods, somewhere");
        let image = "--image=stefanprodan/podinfo";
        self.shell.typed(&["create", "deployment", "podinfo", image, "--replicas=3", "--port=9898"])?;
        let running = self.wait_for_pods(3);
        self.reached("three pods are Running and Ready");
        self.shell.typed(&["get", "pods", "-l", "app=podinfo", "-o", "wide"])?;
        self.claim("three pods are Running and Ready", check(running, || "not within 20 s".into()));
        let pods = self.shell.json(&["get", "pods", "-l", "app=podinfo"])?;
        let nodes: BTreeSet<&str> = items(&pods).filter_map(|pod| pod["spec"]["nodeName"].as_str()).collect();
        self.claim("they are spread over both nodes", check(nodes.len() == 2, || format!("{nodes:?}")));
        Ok(())
    }

    /// Waits until exactly `count` pods of the deployment exist and all are Ready.
    pub(super) fn wait_for_pods(&self, count: usize) -> bool {
        let ready = || {
            let pods = self.shell.json(&["get", "pods", "-l", "app=podinfo"]);
            pods.is_ok_and(|pods| items(&pods).count() == count && count_ready(&pods) == count)
        };
        self.screen.wait(&format!("for {count} pods of podinfo"), PATIENCE, ready)
    }

    fn manifest(&mut self) -> anyhow::Result<()> {
        self.screen.heading("A Service in front of them");
        let source = ["expose", "deployment", "podinfo", "--port", "80", "--target-port", "9898"];
        let args: Vec<&str> = source.into_iter().chain(["--dry-run=client", "-o", "yaml"]).collect();
        let typed = self.shell.quiet(&args)?;
        std::fs::write(self.shell.folder().join(MANIFEST), &typed.stdout).context("saving the manifest")?;
        self.screen.command(&format!("sluice {} > {MANIFEST}", args.join(" ")));
        self.screen.command(&format!("cat {MANIFEST}"));
        self.screen.output(&typed.stdout);
        self.screen.output(&typed.stderr);
        let right = typed.stdout == EXPECTED_MANIFEST;
        self.claim(
            "the manifest selects the deployment's pods, port 80 to 9898",
            check(right, || "it reads otherwise".into()),
        );
        Ok(())
    }

    fn service(&mut self) -> anyhow::Result<Ipv4Addr> {
        self.shell.typed(&["apply", "-f", MANIFEST])?;
        let complete = self.wait_for_endpoints(3);
        self.shell.typed(&["get", "service,endpoints", "-l", "app=podinfo"])?;
        self.claim("the Service has the addresses of the three pods", complete);
        let service = self.shell.json(&["get", "service", "podinfo"])?;
        let vip: Ipv4Addr = service["spec"]["clusterIP"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .context("reading the ClusterIP")?;
        let octets = vip.octets();
        // KEP-3070: of a /16 the first 256 addresses are left to those who ask for one.
        let upper = octets[..2] == [10, 96] && octets[2] >= 1;
        self.claim("its address is from the upper part of 10.96.0.0/16", check(upper, || vip.to_string()));
        Ok(vip)
    }

    /// Waits until the Service's Endpoints are exactly the ready pods' addresses, `count` of them.
    pub(super) fn wait_for_endpoints(&self, count: usize) -> anyhow::Result<()> {
        let mut seen = String::new();
        let complete = self.screen.wait("for the endpoints", PATIENCE, || match self.addresses() {
            Ok((pods, endpoints)) => {
                seen = format!("pods {pods:?}, endpoints {endpoints:?}");
                pods == endpoints && endpoints.len() == count
            }
            Err(error) => {
                seen = format!("{error:#}");
                false
            }
        });
        check(complete, || seen)
    }

    /// The addresses of the pods that are not on their way out, and those of the Endpoints.
    fn addresses(&self) -> anyhow::Result<(BTreeSet<String>, BTreeSet<String>)> {
        let pods = self.shell.json(&["get", "pods", "-l", "app=podinfo"])?;
        let living = items(&pods).filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        let pods = living.filter_map(|pod| pod["status"]["podIP"].as_str()).map(str::to_owned).collect();
        let endpoints = self.shell.json(&["get", "endpoints", "podinfo"])?;
        let subsets = endpoints["subsets"].as_array().into_iter().flatten();
        let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
        Ok((pods, addresses.filter_map(|address| address["ip"].as_str()).map(str::to_owned).collect()))
    }

    fn client(&mut self, vip: Ipv4Addr) -> anyhow::Result<()> {
        self.screen.heading("A client in another pod");
        self.shell.typed(&["run", "nginx", "--image=nginx"])?;
        self.shell.quiet(&["wait", "--for=condition=Ready", "pod/nginx", "--timeout=20s"])?;
        self.screen.command("sluice exec -it nginx -- sh");
        let names =
            ["podinfo", "podinfo.default", "podinfo.default.svc", "podinfo.default.svc.cluster.local"];
        for (index, target) in [vip.to_string()].into_iter().chain(names.map(str::to_owned)).enumerate() {
            self.screen.command(&format!("curl {target}"));
            let typed = self.shell.in_pod(&format!("curl -sS --max-time 3 {target}\n"))?;
            if index == 0 {
                self.reached("the first answer");
                self.screen.output(&typed.stdout);
            }
            self.claim(format!("curl {target} is answered by podinfo"), answered_by(&typed).map(drop));
        }
        let all = self.everybody_answers();
        self.claim(format!("of {REQUESTS} requests each of the three pods has answered some"), all);
        Ok(())
    }

    /// Asks often enough that chance is no excuse.
    fn everybody_answers(&self) -> anyhow::Result<()> {
        let script =
            format!("i=0; while [ $i -lt {REQUESTS} ]; do curl -sS --max-time 3 podinfo; i=$((i+1)); done\n");
        let typed = self.shell.in_pod(&script)?;
        let mut counts = std::collections::BTreeMap::<String, usize>::new();
        for answer in serde_json::Deserializer::from_str(&typed.stdout).into_iter::<Value>() {
            let answer = answer.context("reading an answer")?;
            *counts.entry(answer["hostname"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
        }
        for (pod, count) in &counts {
            self.screen.output(&format!("{count:>3}  {pod}"));
        }
        let total: usize = counts.values().sum();
        ensure!(
            counts.len() == 3 && total == REQUESTS,
            "{total} answers from {} pods: {}",
            counts.len(),
            typed.stderr
        );
        Ok(())
    }

    fn translation(&mut self, vip: Ipv4Addr) -> anyhow::Result<()> {
        self.screen.heading("What the kernel does with a connection");
        let pod = self.shell.json(&["get", "pod", "nginx"])?;
        let node = pod["spec"]["nodeName"].as_str().context("the nginx pod has no node")?.to_owned();
        let client: Ipv4Addr =
            pod["status"]["podIP"].as_str().unwrap_or_default().parse().context("the nginx pod's address")?;
        let record = (self.facts.record)();
        let process = record.nodes.get(&node).with_context(|| format!("no process of {node} is known"))?;
        let seen = tracked::connection(process.pid, client, vip);
        match &seen {
            Ok(connection) => {
                self.screen.note(&format!("conntrack of {node}, the client's node:"));
                self.screen.output(&connection.to_string());
            }
            Err(error) => self.screen.note(&format!("{error:#}")),
        }
        let pods = self.addresses()?.0;
        let outcome = seen.and_then(|connection| tracked::is_translated(&connection, vip, &pods));
        self.claim(
            "the client sent to the virtual address; the reply comes from a pod and is translated back",
            outcome,
        );
        Ok(())
    }

    fn outside(&mut self, vip: Ipv4Addr) -> anyhow::Result<()> {
        self.screen.heading("Only the cluster reaches the address");
        let route = route::from_here(vip.into())?;
        self.screen
            .note(&format!("the host itself would send it {route}, away from the cluster; nothing is sent"));
        let right = !route.contains("sluice");
        self.claim("the host's own namespace has no route into the cluster", check(right, || route));
        let beside = outside::connect_from_beside(vip);
        if let Ok(refusal) = &beside {
            self.screen.note(&format!("from a namespace beside the cluster: {refusal}"));
        }
        self.claim("a namespace that is not part of the cluster does not reach it", beside.map(drop));
        Ok(())
    }

    fn changes(&mut self) -> anyhow::Result<()> {
        self.screen.heading("Pods come and go while a client keeps asking");
        let client = under_load::Client::start(&self.shell)?;
        self.shell.typed(&["scale", "deployment", "podinfo", "--replicas=1"])?;
        let down = self.wait_for_pods(1);
        let follow = self.wait_for_endpoints(1);
        self.claim(
            "scaled to 1: one pod and one endpoint are left",
            check(down, || "pods stay".into()).and(follow),
        );
        self.shell.typed(&["scale", "deployment", "podinfo", "--replicas=3"])?;
        let up = self.wait_for_pods(3);
        let follow = self.wait_for_endpoints(3);
        self.claim("scaled to 3: three endpoints again", check(up, || "pods are missing".into()).and(follow));
        self.replace_a_pod()?;
        let outcome = client.finish(&self.shell);
        if let Ok(text) = &outcome {
            self.screen.note(text);
        }
        self.claim("the client saw no failed connection", outcome.map(drop));
        Ok(())
    }

    fn replace_a_pod(&mut self) -> anyhow::Result<()> {
        let pods = self.shell.json(&["get", "pods", "-l", "app=podinfo"])?;
        let Some(victim) = items(&pods).find_map(|pod| pod["metadata"]["name"].as_str()) else {
            bail!("no pod is left")
        };
        self.shell.typed(&["delete", "pod", victim])?;
        let back = self.wait_for_pods(3);
        let follow = self.wait_for_endpoints(3);
        self.shell.typed(&["get", "service,endpoints", "-l", "app=podinfo"])?;
        self.claim(
            "a deleted pod is replaced, and the endpoints follow",
            check(back, || "no new pod".into()).and(follow),
        );
        Ok(())
    }
}

impl Shell {
    /// The object or list that `args` with `-o json` prints.
    fn json(&self, args: &[&str]) -> anyhow::Result<Value> {
        let args: Vec<&str> = args.iter().copied().chain(["-o", "json"]).collect();
        let typed = self.quiet(&args)?;
        ensure!(typed.success, "sluice {}: {}", args.join(" "), typed.stderr.trim());
        serde_json::from_str(&typed.stdout)
            .with_context(|| format!("reading what sluice {} prints", args.join(" ")))
    }
}

fn check(holds: bool, otherwise: impl FnOnce() -> String) -> anyhow::Result<()> {
    if holds { Ok(()) } else { bail!(otherwise()) }
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

/// How many items have the condition Ready.
fn count_ready(list: &Value) -> usize {
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    items(list)
        .filter(|item| item["status"]["conditions"].as_array().into_iter().flatten().any(is_ready))
        .count()
}

/// The pod that answered, if it was podinfo.
fn answered_by(typed: &Typed) -> anyhow::Result<String> {
    let answer: Value = serde_json::from_str(&typed.stdout)
        .with_context(|| format!("{} {}", typed.stdout.trim(), typed.stderr.trim()))?;
    let hostname = answer["hostname"].as_str().unwrap_or_default();
    ensure!(hostname.starts_with("podinfo-"), "it was answered by {hostname:?}");
    Ok(hostname.to_owned())
}

/// kubectl's layout of `expose deployment podinfo --port 80 --target-port 9898 --dry-run=client -o yaml`.
const EXPECTED_MANIFEST: &str = include_str!("podinfo-clusterip.yaml");
