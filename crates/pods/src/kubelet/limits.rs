//! Resource limits of a container: by cgroup where one is writable, by rlimits elsewhere.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;

use super::events::Kind;
use super::pod::PodContext;
use super::quantity;
use crate::cgroup::Group;
use crate::runner::protocol::Limits;

/// What the runner is told, and what lives as long as the container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Applied {
    pub(crate) rlimits: Limits,
    pub(crate) group: Arc<Group>,
}

/// Sets the container's limits up, and says so in an event where less is enforced than was asked for.
pub(crate) fn apply(context: &PodContext, container: &Container, name: &str) -> std::io::Result<Applied> {
    let limit = |name: &str| {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        limits.and_then(|limits| limits.get(name)).and_then(|quantity| quantity::parse(&quantity.0))
    };
    let memory = limit("memory").filter(|bytes| *bytes > 0.0).map(|bytes| bytes as u64);
    let cpu = limit("cpu").filter(|cpu| *cpu > 0.0);
    let hierarchy = &context.node.cgroups;
    let mut remarks = Vec::new();
    if memory.is_some() && !hierarchy.limits_memory() {
        remarks.push("memory is limited for each process (RLIMIT_DATA), not for the container as a whole");
    }
    if cpu.is_some() && !hierarchy.limits_cpu() {
        remarks.push("the cpu limit is not enforced");
    }
    if !remarks.is_empty() {
        let message = format!("No writable cgroup: {}", remarks.join("; "));
        context.event(Some(&container.name), Kind::Warning, "LimitsNotEnforced", message);
    }
    let rlimits = Limits { data: memory.filter(|_| !hierarchy.limits_memory()) };
    Ok(Applied { rlimits, group: Arc::new(hierarchy.create(name, memory, cpu)?) })
}
