//! Resource limits of a container: by cgroup where one is writable, by rlimits elsewhere.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;

use super::events::Kind;
use super::pod::PodContext;
use super::quantity;
use crate::runner::protocol::Limits;

/// What the runner is told.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    pub(crate) rlimits: Limits,
    /// Files of the cgroups that the container joins.
    pub(crate) cgroups: Vec<PathBuf>,
}

/// Decides how the container's limits are enforced, and says so in an event where it is less than asked for.
pub(crate) fn of(context: &PodContext, container: &Container) -> Applied {
    let limit = |name: &str| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        limits.and_then(|limits| limits.get(name)).and_then(|quantity| quantity::parse(&quantity.0))
    };
    let memory = limit("memory").filter(|bytes| *bytes > 0.0).map(|bytes| bytes as u64);
    let cpu = limit("cpu");
    if memory.is_none() && cpu.is_none() {
        return Applied::default();
    }
    let mut remarks = Vec::new();
    if memory.is_some() {
        remarks.push("memory is limited for each process by RLIMIT_DATA, not for the container as a whole");
    }
    if cpu.is_some() {
        remarks.push("the cpu limit is not enforced");
    }
    let message = format!("No writable cgroup: {}", remarks.join("; "));
    context.event(Some(&container.name), Kind::Warning, "LimitsNotEnforced", message);
    Applied { rlimits: Limits { data: memory }, cgroups: Vec::new() }
}
