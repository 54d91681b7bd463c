//! The API as its clients see it: the node that the candidates are, the Services that changes are measured on, and churn.

use std::cell::Cell;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};

use super::node::PROBE_PORT;
use crate::objects;

/// Where everything is.
pub(crate) const NAMESPACE: &str = "default";
/// The node that the candidates are.
pub(super) const NODE: &str = "bench-node";
/// How often, and after which pause, a Service is created whose address is not free yet.
const ATTEMPTS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// How long an API server may take to be ready.
const START: Duration = Duration::from_secs(180);

/// A connection to the API, used from this thread only.
pub(crate) struct Api {
    runtime: tokio::runtime::Runtime,
    client: Client,
    /// Changes of [`Self::churn`] so far: every one is a change, also for the next candidate.
    turns: Cell<u32>,
}

impl Api {
    /// Waits until the API is ready, and makes the node and the probe's Service.
    pub(crate) fn connect(kubeconfig: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let read = Kubeconfig::read_from(kubeconfig)?;
        let config = runtime.block_on(Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()))?;
        let client = runtime.block_on(async { Client::try_from(config) })?;
        let api = Self { runtime, client, turns: Cell::new(0) };
        api.runtime.block_on(api.ready())?;
        api.runtime.block_on(api.make_node())?;
        api.create_probe("probe", 200, 1)?;
        Ok(api)
    }

    /// Waits until the API is ready, again.
    pub(super) fn wait_ready(&self) -> Result<()> {
        self.runtime.block_on(self.ready())
    }

    async fn ready(&self) -> Result<()> {
        let until = Instant::now() + START;
        loop {
            let asked = self.client.request_text(http::Request::get("/readyz").body(Vec::new())?).await;
            match asked {
                Ok(answer) if answer == "ok" => return Ok(()),
                _ if Instant::now() < until => tokio::time::sleep(PAUSE).await,
                other => anyhow::bail!("the API is not ready within {START:?}: {other:?}"),
            }
        }
    }

    fn services(&self) -> kube::Api<Service> {
        kube::Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn slices(&self) -> kube::Api<EndpointSlice> {
        kube::Api::namespaced(self.client.clone(), NAMESPACE)
    }

    async fn make_node(&self) -> Result<()> {
        let nodes: kube::Api<Node> = kube::Api::all(self.client.clone());
        let node = json!({"metadata": {"name": NODE}, "spec": {"podCIDR": "10.200.0.0/24", "podCIDRs": ["10.200.0.0/24"]}});
        nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "10.200.0.1"}]}});
        nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// An address that was free a moment ago may still count as allocated: tried again for a while.
    async fn put_service(&self, service: &Service) -> Result<()> {
        for _ in 0..ATTEMPTS {
            match self.services().create(&PostParams::default(), service).await {
                Err(kube::Error::Api(status)) if status.code == 422 => tokio::time::sleep(PAUSE).await,
                result => return Ok(result.map(drop)?),
            }
        }
        anyhow::bail!("the address of {:?} stays allocated", service.metadata.name)
    }

    /// A Service on 10.96.0.`host` whose endpoint is 10.200.0.`endpoint`.
    pub(super) fn create_probe(&self, name: &str, host: u8, endpoint: u8) -> Result<()> {
        self.create_service(name, &format!("10.96.0.{host}"))?;
        self.create_slice(name, endpoint)
    }

    /// A Service with this virtual IP, or `None` for a headless one.
    pub(crate) fn create_service(&self, name: &str, address: &str) -> Result<()> {
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"port": 80, "protocol": "TCP"}]},
        }))?;
        self.runtime.block_on(self.put_service(&service))
    }

    /// A Service's slice with the endpoint 10.200.0.`endpoint`.
    pub(crate) fn create_slice(&self, name: &str, endpoint: u8) -> Result<()> {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
            "ports": [{"port": PROBE_PORT, "protocol": "TCP", "name": ""}],
            "endpoints": endpoints(endpoint),
        }))?;
        let created = self.runtime.block_on(self.slices().create(&PostParams::default(), &slice));
        created.context("creating a slice")?;
        Ok(())
    }

    pub(crate) fn delete_service(&self, name: &str) -> Result<()> {
        self.runtime.block_on(self.services().delete(name, &DeleteParams::default()))?;
        Ok(())
    }

    pub(super) fn delete_slice(&self, name: &str) -> Result<()> {
        self.runtime.block_on(self.slices().delete(name, &DeleteParams::default()))?;
        Ok(())
    }

    /// Gives the probe another endpoint.
    pub(super) fn move_probe(&self, endpoint: u8) -> Result<()> {
        self.move_endpoint("probe", endpoint)
    }

    /// Gives a Service of one endpoint another one.
    pub(crate) fn move_endpoint(&self, name: &str, endpoint: u8) -> Result<()> {
        let patch = Patch::Merge(json!({"endpoints": endpoints(endpoint)}));
        self.runtime.block_on(async { self.slices().patch(name, &PatchParams::default(), &patch).await })?;
        Ok(())
    }

    /// Replaces an endpoint of another Service a hundred times a second.
    pub(super) fn churn(&self, services: u32, endpoints: u32, span: Duration) -> Result<()> {
        let start = Instant::now();
        let total = u32::try_from(span.as_secs())? * 100;
        self.runtime.block_on(async {
            for change in 0..total {
                let due = start + Duration::from_millis(10) * change;
                tokio::time::sleep_until(due.into()).await;
                let turn = self.turns.replace(self.turns.get() + 1);
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
