//! Keeps one node running: a node process that dies is started again, and the API is told at once that the node is
//! not ready, so that its endpoints leave before anybody waits for a heartbeat.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use pods::NodeConfig;
use serde_json::json;
use tokio::sync::watch;
use tracing::warn;

use super::job_thread::JobThread;
use super::node_process::NodeProcess;
use super::wire::Wire;

/// First and longest pause before a node process is started again.
const RESTART_PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// A process that ran this long starts with the first pause again.
const STABLE: Duration = Duration::from_secs(30);

/// What a supervisor needs.
pub(crate) struct Supervisor {
    pub(crate) spawner: JobThread,
    pub(crate) wire: Wire,
    pub(crate) client: Client,
    pub(crate) config: NodeConfig,
    pub(crate) log: PathBuf,
    /// Told of each new process: node name and pid.
    pub(crate) started: tokio::sync::mpsc::UnboundedSender<(String, u32)>,
}

impl Supervisor {
    /// Runs until `stop` turns true; the node's process is then stopped.
    pub(crate) async fn run(self, stop: watch::Receiver<bool>) {
        let mut pause = RESTART_PAUSE.0;
        while !*stop.borrow() {
            let began = std::time::Instant::now();
            match NodeProcess::start(&self.spawner, &self.wire, &self.config, &self.log).await {
                Ok(mut process) => {
                    // The receiver lives as long as the cluster.
                    let _ = self.started.send((self.config.name.clone(), process.pid));
                    tokio::select! {
                        () = super::stopped(stop.clone()) => return process.stop().await,
                        status = process.wait() => self.died(status).await,
                    }
                }
                Err(error) => warn!("{error:#}"),
            }
            pause = if began.elapsed() > STABLE { RESTART_PAUSE.0 } else { (pause * 2).min(RESTART_PAUSE.1) };
            tokio::select! {
                () = super::stopped(stop.clone()) => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn died(&self, status: Option<std::process::ExitStatus>) {
        let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
        warn!(
            "the process of node {} ended ({status}); it is started again, see {}",
            self.config.name,
            self.log.display()
        );
        let not_ready = json!({"status": {"conditions": [{
            "type": "Ready", "status": "False", "reason": "NodeProcessDied",
            // Pods that became ready up to this second are not any more: the controllers compare.
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "message": format!("the node's process ended: {status}"),
        }]}});
        let nodes: Api<Node> = Api::all(self.client.clone());
        let patch = Patch::Strategic(&not_ready);
        if let Err(error) = nodes.patch_status(&self.config.name, &PatchParams::default(), &patch).await {
            let why = match error {
                kube::Error::Api(status) => status.message,
                other => other.to_string(),
            };
            warn!("marking node {} as not ready: {why}", self.config.name);
        }
    }
}
