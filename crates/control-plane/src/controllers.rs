//! The controllers of the embedded cluster: pure clients of the API, from watches to writes.
//!
//! One watch for each kind feeds one cache (`cluster`); a change wakes keys of the controllers concerned
//! (`queue`); each controller is a pure function from the cache to a plan of requests (`action`), which
//! `execute` carries out. The middle (`engine`) is one task, asleep unless something happened. They run
//! against any Kubernetes API server; nothing here knows the embedded store. Not covered: Jobs, DaemonSets,
//! StatefulSets, quotas, eviction.

mod action;
mod bootstrap;
mod call_error;
mod claim;
mod cluster;
mod cluster_dns;
mod collect;
mod deployment;
mod empty_namespace;
mod endpoint_slices;
mod endpoints;
mod engine;
mod execute;
#[cfg(test)]
mod fixtures;
mod garbage;
mod label_selector;
mod mirroring;
mod namespaces;
mod node_lifecycle;
mod object;
mod pod;
mod pod_gc;
mod queue;
mod recorder;
mod replica_set;
mod scheduler;
mod selection;
mod service_account;
mod slices;
mod watch;

use std::time::Duration;

use tokio::task::JoinSet;

pub use bootstrap::{BootstrapConfig, BootstrapError, bootstrap};

use engine::{Controller, Engine};
use execute::Executor;

/// What the controllers need to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Certificates of the cluster's authority, PEM: what pods find in the ConfigMap `kube-root-ca.crt`.
    pub root_ca: String,
    /// A node that has not renewed its Lease for so long is Unknown. 40 s in Kubernetes.
    pub node_grace: Duration,
}

impl Config {
    /// The defaults of Kubernetes.
    #[must_use]
    pub fn new(root_ca: String) -> Self {
        Self { root_ca, node_grace: Duration::from_secs(40) }
    }
}

/// Runs all controllers until `shutdown` ends. Whatever is interrupted then is taken up by the next run.
pub async fn run(client: kube::Client, config: Config, shutdown: impl Future<Output = ()>) {
    let mut tasks = JoinSet::new();
    let observations = watch::start(&client, &mut tasks);
    let (recorder, writer) = recorder::recorder(client.clone());
    tasks.spawn(writer.run());
    let engine = Engine::new(controllers(config), Executor { client, recorder });
    engine.run(observations, shutdown).await;
    tasks.shutdown().await;
}

fn controllers(config: Config) -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(deployment::Deployments),
        Box::new(replica_set::ReplicaSets),
        Box::new(scheduler::Scheduler),
        Box::new(endpoint_slices::EndpointSlices),
        Box::new(endpoints::EndpointsOfServices),
        Box::new(mirroring::Mirroring),
        Box::new(cluster_dns::ClusterDns),
        Box::new(service_account::ServiceAccounts { root_ca: config.root_ca }),
        Box::new(namespaces::Namespaces),
        Box::new(garbage::Garbage),
        Box::new(pod_gc::PodGc),
        Box::new(node_lifecycle::NodeLifecycle { grace: config.node_grace }),
    ]
}
