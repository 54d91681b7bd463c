//! What all parts of one pod's life share.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use tokio::sync::watch;

use super::Node;
use super::events::Kind;
use super::record::{Record, Records, State, Terminated};
use crate::network::pod::PodNetwork;

/// A pod that is set up: its network stands and its volumes are written.
pub(crate) struct PodContext {
    pub(crate) node: Arc<Node>,
    pub(crate) pod: Arc<Pod>,
    pub(crate) records: Arc<Records>,
    pub(crate) network: Arc<PodNetwork>,
    pub(crate) address: Ipv4Addr,
    pub(crate) volumes: BTreeMap<String, PathBuf>,
    pub(crate) folder: PathBuf,
}

/// The order to end, with the time that may be taken. A later order may shorten it.
pub(crate) type Stop = watch::Receiver<Option<Duration>>;

impl PodContext {
    pub(crate) fn spec(&self) -> &PodSpec {
        spec(&self.pod)
    }

    pub(crate) fn event(
        &self,
        container: Option<&str>,
        kind: Kind,
        reason: &'static str,
        message: impl Into<String>,
    ) {
        self.node.recorder.record(&self.pod, container, kind, reason, message);
    }

    /// `name_namespace(uid)`, as the kubelet names a pod in messages.
    pub(crate) fn full_name(&self) -> String {
        full_name(&self.pod)
    }
}

/// A pod from the API always has a spec; without one it is an empty one, which starts nothing.
pub(crate) fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

pub(crate) fn full_name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{}_{}({})", text(&metadata.name), text(&metadata.namespace), text(&metadata.uid))
}

/// The host name of a pod: `spec.hostname` or its name, at most 63 bytes (RFC 1123).
pub(crate) fn hostname(pod: &Pod) -> String {
    let name = spec(pod).hostname.as_ref().or(pod.metadata.name.as_ref()).cloned().unwrap_or_default();
    let cut = name.char_indices().map(|(at, _)| at).take_while(|at| *at < 63).count();
    name[..cut.min(name.len())].trim_end_matches(['-', '.']).to_owned()
}

/// All containers in the order of their records: init containers, then the others.
pub(crate) fn containers(spec: &PodSpec) -> impl Iterator<Item = (&Container, bool)> {
    let init = spec.init_containers.iter().flatten().map(|container| (container, true));
    init.chain(spec.containers.iter().map(|container| (container, false)))
}

/// An init container that goes on running beside the others.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The records of a pod that this process sees for the first time. Containers that ran under an earlier process of
/// this node died with it, so they count as restarted.
pub(crate) fn records(pod: &Pod) -> Vec<Record> {
    let status = pod.status.as_ref();
    let known = |name: &str| {
        let init = status.and_then(|status| status.init_container_statuses.as_deref()).unwrap_or_default();
        let main = status.and_then(|status| status.container_statuses.as_deref()).unwrap_or_default();
        init.iter().chain(main).find(|known| known.name == name).cloned()
    };
    let has_init = spec(pod).init_containers.as_ref().is_some_and(|list| !list.is_empty());
    containers(spec(pod))
        .map(|(container, is_init)| {
            let image = container.image.clone().unwrap_or_default();
            let sidecar = is_init && is_sidecar(container);
            let mut record = Record::new(container.name.clone(), image, is_init, sidecar);
            if has_init {
                record.state = State::Waiting { reason: "PodInitializing", message: None };
            }
            if let Some(known) = known(&container.name).filter(|known| known.container_id.is_some()) {
                record.restarts = known.restart_count + 1;
                record.last = Some(lost(known.container_id));
            }
            record
        })
        .collect()
}

fn lost(container_id: Option<String>) -> Terminated {
    Terminated {
        exit_code: 255,
        reason: "Unknown",
        message: Some("the node's process ended, and the container with it".to_owned()),
        started: None,
        finished: jiff::Timestamp::now(),
        container_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_are_cut() {
        let mut pod = Pod::default();
        pod.metadata.name = Some("web".to_owned());
        assert_eq!(hostname(&pod), "web");
        pod.metadata.name = Some(format!("{}-{}", "a".repeat(62), "b".repeat(20)));
        assert_eq!(hostname(&pod), "a".repeat(62));
        pod.spec = Some(PodSpec { hostname: Some("own".to_owned()), ..PodSpec::default() });
        assert_eq!(hostname(&pod), "own");
    }
}
