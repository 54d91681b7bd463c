//! A node, with its lease and what its pods ask for.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    metadata::{annotations, labels, list, multiline, or_none, pairs, plain, text, time},
    quantity::Quantity,
};
use crate::commands::{
    age,
    api::{JSON, Session, resource::Resource},
    failure::Failure,
    listing::{self, Selection},
    pod_choice,
};

const ROLE: &str = "node-role.kubernetes.io/";

/// Reads the node's lease, or the error that the server gave for it.
pub(super) async fn lease(session: &Session, node: &str) -> Result<Result<Value, String>, Failure> {
    let leases = Resource::fixed("coordination.k8s.io", "Lease", "leases", true);
    match session.get(&leases.object("kube-node-lease", node), JSON).await {
        Ok(lease) => Ok(Ok(lease)),
        Err(error @ Failure::Server(_)) => Ok(Err(error.sentence())),
        Err(error) => Err(error),
    }
}

/// Reads the pods of the node that have not ended.
pub(super) async fn pods(session: &Session, node: &str) -> Result<Vec<Value>, Failure> {
    let selection = Selection {
        fields: format!("spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"),
        ..Selection::default()
    };
    let pods = pod_choice::pods();
    Ok(listing::items(listing::list(session, &pods, &selection, JSON).await?, &pods))
}

/// The description as lines with tabs.
pub(super) fn describe(node: &Value, lease: &Result<Value, String>, pods: &[Value]) -> String {
    let (metadata, spec, status) = (&node["metadata"], &node["spec"], &node["status"]);
    let mut out = String::new();
    let _ = writeln!(out, "Name:\t{}", text(&metadata["name"]));
    let roles: Vec<&str> =
        pairs(&metadata["labels"]).into_iter().filter_map(|(key, _)| key.strip_prefix(ROLE)).collect();
    let _ = writeln!(out, "Roles:\t{}", or_none(&roles.join(",")));
    labels(&mut out, "Labels", &metadata["labels"]);
    annotations(&mut out, "Annotations", &metadata["annotations"]);
    let _ = writeln!(out, "CreationTimestamp:\t{}", time(&metadata["creationTimestamp"]));
    taints(&mut out, &spec["taints"]);
    let _ = writeln!(out, "Unschedulable:\t{}", spec["unschedulable"] == true);
    describe_lease(&mut out, lease);
    conditions(&mut out, &status["conditions"]);
    out.push_str("Addresses:\n");
    for address in list(&status["addresses"]) {
        let _ = writeln!(out, "  {}:\t{}", text(&address["type"]), text(&address["address"]));
    }
    for (title, key) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        let amounts = pairs(&status[key]);
        if !amounts.is_empty() {
            let _ = writeln!(out, "{title}:");
        }
        for (name, amount) in amounts {
            let _ = writeln!(out, "  {name}:\t{}", plain(amount));
        }
    }
    system(&mut out, node);
    usage(&mut out, node, pods);
    out
}

fn taints(out: &mut String, taints: &Value) {
    let mut sorted: Vec<&Value> = list(taints).iter().collect();
    sorted.sort_by_key(|taint| format!("{},{}", text(&taint["effect"]), text(&taint["key"])));
    let taint = |taint: &&Value| {
        let value = match text(&taint["value"]) {
            "" => String::new(),
            value => format!("={value}"),
        };
        format!("{}{value}:{}", text(&taint["key"]), text(&taint["effect"]))
    };
    multiline(out, "Taints", &sorted.iter().map(taint).collect::<Vec<_>>());
}

fn describe_lease(out: &mut String, lease: &Result<Value, String>) {
    let lease = match lease {
        Ok(lease) => lease,
        Err(error) => {
            let _ = writeln!(out, "Lease:\tFailed to get lease: {error}");
            return;
        }
    };
    let spec = &lease["spec"];
    let at = |value: &Value| if value.is_null() { "<unset>".to_owned() } else { time(value) };
    let holder = spec["holderIdentity"].as_str().unwrap_or("<unset>");
    let _ = writeln!(out, "Lease:\n  HolderIdentity:\t{holder}");
    let _ = writeln!(
        out,
        "  AcquireTime:\t{}\n  RenewTime:\t{}",
        at(&spec["acquireTime"]),
        at(&spec["renewTime"])
    );
}

fn conditions(out: &mut String, conditions: &Value) {
    if list(conditions).is_empty() {
        return;
    }
    out.push_str("Conditions:\n  Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage\n");
    out.push_str("  ----\t------\t-----------------\t------------------\t------\t-------\n");
    for condition in list(conditions) {
        let cell = |key: &str| text(&condition[key]);
        let _ = writeln!(
            out,
            "  {} \t{} \t{} \t{} \t{} \t{}",
            cell("type"),
            cell("status"),
            time(&condition["lastHeartbeatTime"]),
            time(&condition["lastTransitionTime"]),
            cell("reason"),
            cell("message"),
        );
    }
}

fn system(out: &mut String, node: &Value) {
    let (spec, info) = (&node["spec"], &node["status"]["nodeInfo"]);
    out.push_str("System Info:\n");
    let facts = [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ];
    for (title, key) in facts {
        let _ = writeln!(out, "  {title}:\t{}", text(&info[key]));
    }
    let ranges = list(&spec["podCIDRs"]).iter().map(text).collect::<Vec<_>>().join(",");
    let given = [
        ("PodCIDR", text(&spec["podCIDR"]).to_owned()),
        ("PodCIDRs", ranges),
        ("ProviderID", text(&spec["providerID"]).to_owned()),
    ];
    for (title, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{title}:\t{value}");
    }
}

fn usage(out: &mut String, node: &Value, pods: &[Value]) {
    let status = &node["status"];
    let allocatable =
        if status["allocatable"].is_null() { &status["capacity"] } else { &status["allocatable"] };
    let whole = |name: &str| Quantity::parse(&plain(&allocatable[name]));
    let share = |amount: Quantity, name: &str| format!("{amount} ({}%)", amount.percent_of(whole(name)));
    let _ = writeln!(out, "Non-terminated Pods:\t({} in total)", pods.len());
    out.push_str("  Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge\n");
    out.push_str("  ---------\t----\t\t------------\t----------\t---------------\t-------------\t---\n");
    for pod in pods {
        let metadata = &pod["metadata"];
        let cell = |kind: &str, name: &str| share(of_pod(pod, kind, name), name);
        let _ = writeln!(
            out,
            "  {}\t{}\t\t{}\t{}\t{}\t{}\t{}",
            text(&metadata["namespace"]),
            text(&metadata["name"]),
            cell("requests", "cpu"),
            cell("limits", "cpu"),
            cell("requests", "memory"),
            cell("limits", "memory"),
            age::since(text(&metadata["creationTimestamp"])),
        );
    }
    out.push_str("Allocated resources:\n  (Total limits may be over 100 percent, i.e., overcommitted.)\n");
    out.push_str("  Resource\tRequests\tLimits\n  --------\t--------\t------\n");
    for name in ["cpu", "memory", "ephemeral-storage"] {
        let total =
            |kind: &str| pods.iter().fold(Quantity::default(), |sum, pod| sum.plus(of_pod(pod, kind, name)));
        let _ =
            writeln!(out, "  {name}\t{}\t{}", share(total("requests"), name), share(total("limits"), name));
    }
}

/// What the containers of a pod ask for, or may use, together.
fn of_pod(pod: &Value, kind: &str, name: &str) -> Quantity {
    let containers = list(&pod["spec"]["containers"]).iter();
    let amounts = containers.map(|container| Quantity::parse(&plain(&container["resources"][kind][name])));
    amounts.fold(Quantity::default(), Quantity::plus)
}
