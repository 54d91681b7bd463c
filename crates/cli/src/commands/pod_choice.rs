//! Which pod and which container `exec` and `logs` mean.
//!
//! A pod is named directly, or found through what selects it (`deployment/podinfo`, `service/podinfo`).

use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    api::{JSON, Session, resource::Resource},
    failure::Failure,
    listing::{self, Selection},
    output, targets,
};

/// How long a workload without pods is waited for (kubectl's `--pod-running-timeout`).
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(250);
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// The pods resource, which every server has.
pub(crate) fn pods() -> Resource {
    Resource::fixed("", "Pod", "pods", true)
}

/// The pods that a word names: one pod, or those that an object selects, best first.
pub(crate) async fn candidates(session: &Session, word: &str) -> Result<Vec<Value>, Failure> {
    let Some((kind, name)) = word.split_once('/') else {
        return Ok(vec![session.get(&pods().object(&session.namespace, word), JSON).await?]);
    };
    if matches!(kind, "pod" | "pods" | "po") {
        return Ok(vec![session.get(&pods().object(&session.namespace, name), JSON).await?]);
    }
    let named = targets::resolve_named(session, &[word.to_owned()]).await?;
    let Some((resource, name)) = named.into_iter().next() else {
        return Err(Failure::usage(format!("{word} names no object")));
    };
    let owner = session.get(&resource.object(&session.namespace, &name), JSON).await?;
    let labels = selector(&owner)
        .ok_or_else(|| Failure::usage(format!("{}/{name} selects no pods: name a pod", resource.plural)))?;
    let mut found = first_pods(session, &labels).await?;
    // Running before others, then the oldest.
    found.sort_by_key(|pod| {
        let running = pod["status"]["phase"] == "Running";
        (!running, pod["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned())
    });
    Ok(found)
}

/// The pods with these labels, waited for while there are none.
async fn first_pods(session: &Session, labels: &str) -> Result<Vec<Value>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = selected(session, labels).await?;
        if !found.is_empty() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(Failure::usage("timed out waiting for the condition"));
        }
        sleep(POLL).await;
    }
}

/// The pods with these labels in the session's namespace.
pub(crate) async fn selected(session: &Session, labels: &str) -> Result<Vec<Value>, Failure> {
    let selection = Selection { labels: labels.to_owned(), ..Selection::within(&session.namespace) };
    Ok(listing::items(listing::list(session, &pods(), &selection, JSON).await?, &pods()))
}

/// The label selector of a workload or service, as a query.
pub(crate) fn selector(owner: &Value) -> Option<String> {
    let selector = &owner["spec"]["selector"];
    let labels = selector["matchLabels"].as_object().or_else(|| selector.as_object())?;
    let pairs: Vec<String> =
        labels.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?))).collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

/// The container: the one asked for, the annotated default, or the first, with a remark if there are more.
pub(crate) fn container(pod: &Value, wanted: Option<&str>, remark: bool) -> Result<String, Failure> {
    let names = container_names(pod);
    let pod_name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER].as_str();
    if let Some(name) = wanted {
        return match names.iter().any(|(own, _)| own == name) {
            true => Ok(name.to_owned()),
            false => Err(Failure::usage(format!(
                "container {name} is not valid for pod {pod_name} out of: {}",
                listed(&names)
            ))),
        };
    }
    if let Some(name) = annotated.filter(|name| names.iter().any(|(own, _)| own == name)) {
        return Ok(name.to_owned());
    }
    let first = pod["spec"]["containers"][0]["name"].as_str().unwrap_or_default().to_owned();
    if names.len() > 1 && remark {
        output::remark(&format!("Defaulted container {first:?} out of: {}", listed(&names)));
    }
    Ok(first)
}

/// Containers in the order in which they are told, with `" (init)"` for those that ran before.
pub(crate) fn container_names(pod: &Value) -> Vec<(String, &'static str)> {
    let named = |key: &str, mark: &'static str| {
        let list = pod["spec"][key].as_array().into_iter().flatten();
        list.filter_map(|container| Some((container["name"].as_str()?.to_owned(), mark))).collect::<Vec<_>>()
    };
    [named("containers", ""), named("ephemeralContainers", " (ephem)"), named("initContainers", " (init)")]
        .concat()
}

fn listed(names: &[(String, &str)]) -> String {
    names.iter().map(|(name, mark)| format!("{name}{mark}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn containers_are_chosen_as_kubectl_does() {
        let pod = json!({"metadata": {"name": "p"},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        assert_eq!(container(&pod, None, false).unwrap(), "a");
        assert_eq!(container(&pod, Some("b"), false).unwrap(), "b");
        let error = container(&pod, Some("x"), false).unwrap_err().to_string();
        assert_eq!(error, "error: container x is not valid for pod p out of: a, b, i (init)");
        let mut annotated = pod.clone();
        annotated["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
        assert_eq!(container(&annotated, None, false).unwrap(), "b");
        let service = json!({"spec": {"selector": {"app": "x", "tier": "y"}}});
        assert_eq!(selector(&service).as_deref(), Some("app=x,tier=y"));
        assert_eq!(selector(&json!({"spec": {}})), None);
    }
}
