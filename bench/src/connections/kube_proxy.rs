//! kube-proxy's own rules for the same objects: a real one writes them in a namespace of its own, from an API of our making,
//! and the client's node gets them as `nft` lists them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use testnet::cluster::Node;
use testnet::oracle::kube_proxy::KubeProxy;
use testnet::oracle::node::Node as Oracle;
use testnet::oracle::profile::PROFILES;

/// Rules on the client's node; they go with the value.
pub(super) struct Rules<'a> {
    node: &'a Node,
}

impl<'a> Rules<'a> {
    /// What `program` makes of these objects.
    pub(super) fn write(
        program: &Path,
        objects: &[(Service, EndpointSlice)],
        node: &'a Node,
    ) -> Result<Self> {
        let mut oracle = Oracle::start(&PROFILES[0].site())?;
        let mut proxy = KubeProxy::start(program, &oracle)?;
        let mut all = oracle.site().objects();
        for (service, slice) in objects {
            all.extend([complete(service)?, serde_json::to_value(slice)?]);
        }
        proxy.load_objects(&mut oracle, all)?;
        let listing = oracle.namespace().run(|| Command::new("nft").args(["list", "ruleset"]).output())??;
        ensure!(listing.status.success(), "nft cannot list kube-proxy's rules");
        drop(proxy);
        node.run(move || feed(&listing.stdout))??;
        Ok(Self { node })
    }
}

impl Drop for Rules<'_> {
    fn drop(&mut self) {
        // The namespace goes with the benchmark anyway.
        let _ = self.node.run(|| feed(b"flush ruleset"));
    }
}

fn feed(script: &[u8]) -> Result<()> {
    let mut nft =
        Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("starting nft")?;
    nft.stdin.take().context("nft's input")?.write_all(script)?;
    ensure!(nft.wait()?.success(), "nft does not take kube-proxy's rules");
    Ok(())
}

/// With what an API server would have filled in and kube-proxy asks for.
fn complete(service: &Service) -> Result<Value> {
    let mut service = serde_json::to_value(service)?;
    let spec = &mut service["spec"];
    spec["clusterIP"] = spec["clusterIPs"][0].clone();
    for (field, value) in [
        ("ipFamilies", json!(["IPv4"])),
        ("type", json!("ClusterIP")),
        ("sessionAffinity", json!("None")),
        ("internalTrafficPolicy", json!("Cluster")),
    ] {
        spec[field] = value;
    }
    Ok(service)
}
