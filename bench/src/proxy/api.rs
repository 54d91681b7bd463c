//! The objects in the API: many Services with their slices, and the one that changes are measured on.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::node::PROBE_PORT;
use crate::objects;

/// Where everything is.
const NAMESPACE: &str = "proxy-bench";
/// The node that the candidates are.
pub(super) const NODE: &str = "bench-node";
/// How often, and after which pause, a Service is created whose address is not free yet.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// Calls that are on their way at once.
const AT_ONCE: usize = 48;

/// A connection to the API, used from this thread only.
pub(super) struct Api {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// `host:port` that the kubeconfig names.
    pub(super) server: String,
}

impl Api {
    pub(super) fn connect(kubeconfig: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let read = Kubeconfig::read_from(kubeconfig)?;
        let config = runtime.block_on(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()))?;
        let server = config.cluster_url.authority().context("the kubeconfig names no server")?.to_string();
        let client = runtime.block_on(async { Client::try_from(config) })?;
        Ok(Self { runtime, client, server })
    }

    fn services(&self) -> kube::Api<Service> {
        kube::Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn slices(&self) -> kube::Api<EndpointSlice> {
        kube::Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Makes the API hold so many Services with so many endpoints, and the probe's Service. Services that are there stay:
    /// their addresses would be free again only some time after their deletion.
    pub(super) fn fill(&self, services: u32, endpoints: u32) -> Result<()> {
        self.runtime.block_on(async {
            self.prepare().await?;
            let present = self.clear(services).await?;
            let present = &present;
            let numbers = stream::iter((0..services).map(anyhow::Ok));
            numbers
                .try_for_each_concurrent(AT_ONCE, |number| async move {
                    if !present.contains(&objects::name(number)) {
                        self.put_service(objects::service(number)).await?;
                    }
                    self.put_slice(objects::slice(number, endpoints, 0)).await
                })
                .await
        })?;
        self.create_probe("probe", 200, 1)
    }

    /// The namespace and the node, unless they are there.
    async fn prepare(&self) -> Result<()> {
        let namespaces: kube::Api<Namespace> = kube::Api::all(self.client.clone());
        let namespace: Namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        let _ = namespaces.create(&PostParams::default(), &namespace).await;
        let nodes: kube::Api<Node> = kube::Api::all(self.client.clone());
        let node: Node = serde_json::from_value(
            json!({"metadata": {"name": NODE}, "spec": {"podCIDR": "10.200.0.0/24", "podCIDRs": ["10.200.0.0/24"]}}),
        )?;
        let _ = nodes.create(&PostParams::default(), &node).await;
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.200.0.1"}]}});
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// Deletes all slices and the Services that are not among so many; the names of the others. One by one: the API server
    /// refuses to delete Services as a collection on some versions.
    async fn clear(&self, services: u32) -> Result<HashSet<String>> {
        self.slices().delete_collection(&DeleteParams::default(), &Default::default()).await?;
        let wanted: HashSet<String> = (0..services).map(objects::name).collect();
        let listed = self.services().list_metadata(&Default::default()).await?;
        let names = listed.items.into_iter().filter_map(|service| service.metadata.name);
        let (kept, gone): (HashSet<String>, HashSet<String>) = names.partition(|name| wanted.contains(name));
        stream::iter(gone)
            .for_each_concurrent(AT_ONCE, |name| async move {
                let _ = self.services().delete(&name, &DeleteParams::default()).await;
            })
            .await;
        Ok(kept)
    }

    async fn put(&self, service: Service, slice: EndpointSlice) -> Result<()> {
        self.put_service(service).await?;
        self.put_slice(slice).await
    }

    /// An address that was free a moment ago may still count as allocated: tried again for a while.
    async fn put_service(&self, mut service: Service) -> Result<()> {
        service.metadata.namespace = Some(NAMESPACE.into());
        // The API wants both forms of the address.
        let spec = service.spec.as_mut().context("a Service with a spec")?;
        spec.cluster_ip = spec.cluster_ips.as_ref().and_then(|ips| ips.first().cloned());
        for _ in 0..ATTEMPTS {
            match self.services().create(&PostParams::default(), &service).await {
                Err(kube::Error::Api(status)) if status.code == 422 => tokio::time::sleep(PAUSE).await,
                result => return Ok(result.map(drop)?),
            }
        }
        anyhow::bail!("the address of {:?} stays allocated", service.metadata.name)
    }

    async fn put_slice(&self, mut slice: EndpointSlice) -> Result<()> {
        slice.metadata.namespace = Some(NAMESPACE.into());
        self.slices().create(&PostParams::default(), &slice).await?;
        Ok(())
    }

    /// A Service on 10.96.0.`host` whose endpoint is 10.200.0.`endpoint`.
    pub(super) fn create_probe(&self, name: &str, host: u8, endpoint: u8) -> Result<()> {
        let service = json!({
            "metadata": {"name": name},
            "spec": {"clusterIPs": [format!("10.96.0.{host}")], "ports": [{"port": 80, "protocol": "TCP"}]},
        });
        let slice = json!({
            "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": PROBE_PORT, "protocol": "TCP", "name": ""}],
            "endpoints": endpoints(endpoint),
        });
        self.runtime.block_on(self.put(serde_json::from_value(service)?, serde_json::from_value(slice)?))
    }

    pub(super) fn delete_probe(&self, name: &str) -> Result<()> {
        self.runtime.block_on(async {
            self.services().delete(name, &DeleteParams::default()).await?;
            self.slices().delete(name, &DeleteParams::default()).await?;
            Ok(())
        })
    }

    /// Gives a probe another endpoint.
    pub(super) fn move_probe(&self, name: &str, endpoint: u8) -> Result<()> {
        let patch = json!({"endpoints": endpoints(endpoint)});
        self.runtime.block_on(async {
            self.slices().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            Ok(())
        })
    }

    /// Replaces an endpoint of another Service a hundred times a second.
    pub(super) fn churn(&self, services: u32, endpoints: u32, span: Duration) -> Result<()> {
        let start = Instant::now();
        let total = u32::try_from(span.as_secs())? * 100;
        self.runtime.block_on(async {
            for turn in 0..total {
                let due = start + Duration::from_millis(10) * turn;
                tokio::time::sleep_until(due.into()).await;
                let (number, version) = (turn % services, 1 + turn / services % 2);
                let slice = objects::slice(number, endpoints, version);
                let patch = json!({"endpoints": slice.endpoints});
                let name = objects::name(number);
                self.slices().patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
            }
            Ok(())
        })
    }
}

fn endpoints(host: u8) -> Value {
    json!([{"addresses": [format!("10.200.0.{host}")], "nodeName": NODE, "conditions": {"ready": true}}])
}
