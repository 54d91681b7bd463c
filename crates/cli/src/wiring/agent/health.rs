//! The proxy's health as kube-proxy judges it (pkg/proxy/healthcheck): unhealthy while an update has waited too long for
//! the kernel, and for load balancers also when the node is about to go. Asked on `/healthz` and `/livez`, and by the
//! health checks of Services. Pure but for the clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

/// The cluster autoscaler's, before it removes a node.
const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// The address families that one sync programs.
pub(crate) const FAMILIES: [&str; 2] = ["IPv4", "IPv6"];

/// What is known of the proxy and its node.
#[derive(Debug)]
pub(crate) struct Health {
    /// An update may wait for so long.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last sync that succeeded.
    updated: Option<Timestamp>,
    /// The oldest update that is not in the kernel.
    waiting: Option<Instant>,
    node_eligible: bool,
}

/// Whether the answer is 200, and its body.
pub(crate) struct Verdict {
    pub(crate) healthy: bool,
    pub(crate) body: Value,
}

impl Health {
    /// Healthy, as kube-proxy is while it starts; the node is not eligible before it is seen.
    pub(crate) fn new(sync_period: Duration) -> Self {
        Self { patience: sync_period * 2, state: Mutex::default() }
    }

    /// An update is on its way to the kernel.
    pub(crate) fn queued(&self) {
        self.lock().waiting.get_or_insert_with(Instant::now);
    }

    /// The kernel holds every update.
    pub(crate) fn updated(&self) {
        let mut state = self.lock();
        (state.updated, state.waiting) = (Some(Timestamp::now()), None);
    }

    /// The node, as the API has it.
    pub(crate) fn set_node(&self, node: Option<&Node>) {
        self.lock().node_eligible = node.is_some_and(is_eligible);
    }

    /// Whether no update has waited too long.
    pub(crate) fn is_healthy(&self) -> bool {
        self.is_healthy_at(Instant::now())
    }

    /// The answer to `/healthz`: is this node fit for traffic?
    pub(crate) fn healthz(&self) -> Verdict {
        let eligible = self.lock().node_eligible;
        self.verdict(Instant::now(), Some(eligible))
    }

    /// The answer to `/livez`: does this program work?
    pub(crate) fn livez(&self) -> Verdict {
        self.verdict(Instant::now(), None)
    }

    fn is_healthy_at(&self, now: Instant) -> bool {
        let state = self.lock();
        let late = state.waiting.is_some_and(|since| now.duration_since(since) >= self.patience);
        // Nothing is expected of a proxy that has never synced: it may wait for the API.
        state.updated.is_none() || !late
    }

    fn verdict(&self, now: Instant, eligible: Option<bool>) -> Verdict {
        let synced = self.is_healthy_at(now);
        let healthy = synced && eligible != Some(false);
        let (updated, current) = (self.lock().updated, Timestamp::now());
        // kube-proxy tells Go's zero time before the first sync, and the time of the question while all is well.
        let last = if healthy { current } else { updated.unwrap_or(go_zero()) };
        let mut body = json!({ "lastUpdated": last.to_string(), "currentTime": current.to_string() });
        if let Some(eligible) = eligible {
            body["nodeEligible"] = eligible.into();
        }
        body["healthy"] = synced.into();
        if let Some(updated) = updated {
            let status = json!({ "lastUpdated": updated.to_string(), "healthy": synced });
            let families = FAMILIES.into_iter().map(|family| (family.to_owned(), status.clone()));
            body["status"] = Value::Object(families.collect());
        }
        Verdict { healthy, body }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Load balancers should send no more to a node that is on its way out.
fn is_eligible(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    node.metadata.deletion_timestamp.is_none() && taints.into_iter().all(|taint| taint.key != TO_BE_DELETED)
}

/// `0001-01-01T00:00:00Z`.
fn go_zero() -> Timestamp {
    Timestamp::constant(-62_135_596_800, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(fields: Value) -> Node {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn an_update_that_waits_too_long_is_unhealthy() {
        let health = Health::new(Duration::from_secs(30));
        health.set_node(Some(&Node::default()));
        let now = Instant::now();
        let (soon, late) = (now + Duration::from_secs(59), now + Duration::from_secs(61));
        health.queued();
        assert!(health.is_healthy_at(late), "nothing was synced yet");
        health.updated();
        assert!(health.is_healthy_at(late), "nothing waits");
        health.queued();
        assert!(health.is_healthy_at(soon) && !health.is_healthy_at(late));
        let verdict = health.verdict(late, Some(true));
        assert!(!verdict.healthy);
        assert_eq!(verdict.body["status"]["IPv4"]["healthy"], false);
        assert_eq!(verdict.body["lastUpdated"], verdict.body["status"]["IPv4"]["lastUpdated"]);
        health.updated();
        assert!(health.is_healthy_at(late));
    }

    #[test]
    fn a_node_on_its_way_out_is_not_eligible_but_alive() {
        let health = Health::new(Duration::from_secs(30));
        let asked = || (health.healthz().healthy, health.livez().healthy);
        assert_eq!(asked(), (false, true), "no node was seen");
        let cases = [
            (json!({}), true),
            (json!({"spec": {"taints": [{"key": "other", "effect": "NoSchedule"}]}}), true),
            (json!({"spec": {"taints": [{"key": TO_BE_DELETED, "effect": "NoSchedule"}]}}), false),
            (json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}), false),
        ];
        for (fields, expected) in cases {
            health.set_node(Some(&node(fields.clone())));
            assert_eq!(asked(), (expected, true), "{fields}");
            assert_eq!(health.healthz().body["nodeEligible"], expected, "{fields}");
        }
        health.set_node(None);
        assert_eq!(asked(), (false, true), "the node is gone");
    }

    #[test]
    fn answers_have_the_fields_of_kube_proxy_in_its_order() {
        let health = Health::new(Duration::from_secs(30));
        let keys = |verdict: Verdict| {
            verdict.body.as_object().unwrap().keys().map(String::to_owned).collect::<Vec<_>>()
        };
        let starting = health.healthz().body;
        assert_eq!(starting["lastUpdated"], "0001-01-01T00:00:00Z");
        health.updated();
        assert_eq!(
            keys(health.healthz()),
            ["lastUpdated", "currentTime", "nodeEligible", "healthy", "status"]
        );
        assert_eq!(keys(health.livez()), ["lastUpdated", "currentTime", "healthy", "status"]);
    }
}
