//! From a pod's spec to its running containers and to their end: network, volumes, init containers, the others.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Node;
use super::addresses::Lease;
use super::container::{Actor, Policy};
use super::environment::Objects;
use super::events::Kind;
use super::pod::{PodContext, Stop, containers, is_sidecar, spec};
use super::record::Records;
use super::volumes;
use crate::network::pod::PodNetwork;

/// What cannot be set up yet is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// A pod's life, from its first sight on.
pub(crate) struct Lifecycle {
    pub(crate) node: Arc<Node>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) records: Arc<Records>,
    pub(crate) folder: PathBuf,
    pub(crate) stop: Stop,
    /// Tells the pod's address as soon as it has one.
    pub(crate) address: watch::Sender<Option<std::net::Ipv4Addr>>,
}

impl Lifecycle {
    /// Until no container is to run any more; the pod's network is gone then.
    pub(crate) async fn run(mut self) {
        let _life = Arc::clone(&self.node.lives);
        let Some((lease, network)) = self.network().await else {
            return;
        };
        let network = Arc::new(network);
        if let Some(volumes) = self.volumes(&lease).await {
            let context = Arc::new(PodContext {
                node: Arc::clone(&self.node),
                pod: Arc::clone(&self.pod),
                records: Arc::clone(&self.records),
                network: Arc::clone(&network),
                address: lease.address,
                volumes,
                folder: self.folder.clone(),
            });
            Containers::new(context, self.stop.clone()).run().await;
        }
        take_down(network).await;
    }

    fn event(&self, reason: &'static str, message: String) {
        self.node.recorder.record(&self.pod, None, Kind::Warning, reason, message);
    }

    /// Waits before another try; false if the pod is to end.
    async fn again(&mut self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(RETRY) => true,
            _ = self.stop.wait_for(Option::is_some) => false,
        }
    }

    async fn network(&mut self) -> Option<(Lease, PodNetwork)> {
        loop {
            let message = match self.node.addresses.lease() {
                None => format!("no free address in {}", self.node.config.pod_cidr),
                Some(lease) => {
                    let (address, node) = (lease.address, self.node.config.address.addr());
                    let made = tokio::task::spawn_blocking(move || PodNetwork::create(address, node)).await;
                    match made {
                        Ok(Ok(network)) => {
                            self.address.send_replace(Some(address));
                            return Some((lease, network));
                        }
                        Ok(Err(error)) => super::chain(&error),
                        Err(error) => error.to_string(),
                    }
                }
            };
            self.event("FailedCreatePodSandBox", format!("Failed to create pod sandbox: {message}"));
            if !self.again().await {
                return None;
            }
        }
    }

    async fn volumes(&mut self, lease: &Lease) -> Option<BTreeMap<String, PathBuf>> {
        let namespace = self.pod.metadata.namespace.as_deref().unwrap_or_default().to_owned();
        let objects = Objects::new(self.node.client.clone(), &namespace);
        let (address, node) = (lease.address.to_string(), self.node.config.address.addr().to_string());
        let folder = self.folder.join("volumes");
        loop {
            match volumes::set_up(&self.pod, &objects, &folder, &address, &node).await {
                Ok(places) => return Some(places),
                Err(error) => self.event("FailedMount", super::chain(&error)),
            }
            if !self.again().await {
                return None;
            }
        }
    }
}

/// The last user of the network takes the veth pair away, so that the address is really free when its lease ends.
async fn take_down(network: Arc<PodNetwork>) {
    let Some(network) = Arc::into_inner(network) else {
        return;
    };
    let removed = tokio::task::spawn_blocking(move || network.remove()).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(error = super::chain(&error), "a pod's interface is left to its namespace");
    }
}

/// All containers of a pod that is set up.
struct Containers {
    context: Arc<PodContext>,
    policy: Policy,
    stop: Stop,
    /// Sidecars end after the others.
    stop_sidecars: watch::Sender<Option<Duration>>,
    sidecars: JoinSet<bool>,
}

impl Containers {
    fn new(context: Arc<PodContext>, stop: Stop) -> Self {
        let policy = match context.spec().restart_policy.as_deref() {
            Some("Never") => Policy::Never,
            Some("OnFailure") => Policy::OnFailure,
            _ => Policy::Always,
        };
        let (stop_sidecars, sidecars) = (watch::Sender::new(None), JoinSet::new());
        Self { context, policy, stop, stop_sidecars, sidecars }
    }

    async fn run(mut self) {
        if self.run_init_containers().await {
            let mut main = JoinSet::new();
            let first = self.context.spec().init_containers.as_ref().map_or(0, Vec::len);
            for index in 0..self.context.spec().containers.len() {
                let actor = self.actor(first + index, self.policy, self.stop.clone());
                main.spawn(actor.run());
            }
            while main.join_next().await.is_some() {}
        }
        self.end_sidecars().await;
    }

    async fn end_sidecars(&mut self) {
        let grace = self.stop.borrow().unwrap_or(Duration::from_secs(30));
        self.stop_sidecars.send_replace(Some(grace));
        while self.sidecars.join_next().await.is_some() {}
    }

    fn actor(&self, index: usize, policy: Policy, stop: Stop) -> Actor {
        let container =
            containers(spec(&self.context.pod)).nth(index).map(|(container, _)| container.clone());
        let container = Arc::new(container.unwrap_or_default());
        Actor { context: Arc::clone(&self.context), index, container, policy, stop }
    }

    /// One after the other; true once all are through and the pod is not to end.
    async fn run_init_containers(&mut self) -> bool {
        let init: Vec<bool> = self.context.spec().init_containers.iter().flatten().map(is_sidecar).collect();
        for (index, sidecar) in init.into_iter().enumerate() {
            if sidecar {
                let actor = self.actor(index, Policy::Always, self.stop_sidecars.subscribe());
                self.sidecars.spawn(actor.run());
                if !self.sidecar_started(index).await {
                    return false;
                }
                continue;
            }
            let policy = if self.policy == Policy::Never { Policy::Never } else { Policy::OnFailure };
            if !self.actor(index, policy, self.stop.clone()).run().await {
                return false;
            }
        }
        self.stop.borrow().is_none() && self.stop.has_changed().is_ok()
    }

    /// Waits until the sidecar is started; its own bell is the pod's, so the record is looked at now and then.
    async fn sidecar_started(&mut self, index: usize) -> bool {
        const LOOK: Duration = Duration::from_millis(20);
        loop {
            if self.context.records.read(index, |record| record.started) {
                return true;
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                _ = self.stop.wait_for(Option::is_some) => return false,
            }
        }
    }
}
