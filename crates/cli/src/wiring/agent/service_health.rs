//! `spec.healthCheckNodePort`: on this port of every node a load balancer asks whether the node has endpoints of a Service
//! with external policy Local. Answers are kube-proxy's (pkg/proxy/healthcheck/service_health.go), and change only after
//! the kernel has.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use services::{Changes, ServiceName, ServiceState, Snapshot, TrafficPolicy};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::events::Report;
use super::http::{Response, Routes, response, serve};
use super::observed::Observed;

/// An address that could not be had is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// What is asked for: which ports, and how many endpoints are on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checks {
    services: BTreeMap<ServiceName, Check>,
    addresses: Vec<IpAddr>,
}

/// One Service's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Check {
    port: u16,
    /// Ready endpoints on this node, IPv4 and IPv6.
    endpoints: [usize; 2],
}

impl Checks {
    /// Takes over what changed; true when something did.
    pub(crate) fn update(
        &mut self,
        node: &str,
        snapshot: &Snapshot,
        changes: &Changes,
        addresses: impl Iterator<Item = IpAddr>,
    ) -> bool {
        // A link-local address is none without its interface.
        let usable = addresses.filter(|address| !is_link_local(address));
        let addresses: Vec<IpAddr> = usable.collect();
        let mut changed = addresses != self.addresses;
        self.addresses = addresses;
        for name in &changes.services {
            let check = snapshot.services.get(name).and_then(|state| check(node, state));
            let before = match check {
                Some(check) => self.services.insert(name.clone(), check),
                None => self.services.remove(name),
            };
            changed |= before != check;
        }
        changed
    }

    /// Where each is served: on the node's addresses for node ports.
    fn places(&self) -> impl Iterator<Item = (SocketAddr, &ServiceName, usize)> {
        self.services.iter().flat_map(|(name, check)| {
            self.addresses.iter().map(move |address| {
                let place = SocketAddr::new(*address, check.port);
                (place, name, check.endpoints[usize::from(address.is_ipv6())])
            })
        })
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn check(node: &str, state: &ServiceState) -> Option<Check> {
    let service = state.service.as_ref().filter(|service| service.proxied)?;
    let port = service
        .outside()
        .health_check_node_port
        .filter(|_| service.external_policy == TrafficPolicy::Local)?;
    // An address that several ports or slices list is one endpoint.
    let endpoints = state.slices.iter().flat_map(|slice| &slice.endpoints);
    let local =
        endpoints.filter(|endpoint| endpoint.ready && endpoint.node.is_some_and(|own| **own == *node));
    let mut addresses: Vec<IpAddr> = local.map(|endpoint| endpoint.address).collect();
    addresses.sort_unstable();
    addresses.dedup();
    let ipv4 = addresses.iter().filter(|address| address.is_ipv4()).count();
    Some(Check { port, endpoints: [ipv4, addresses.len() - ipv4] })
}

/// Opens and closes listeners as the checks change, until the sender is gone. Runs in the node's network namespace.
pub(crate) async fn run(mut checks: watch::Receiver<Checks>, observed: Arc<Observed>) {
    let mut servers = Servers { open: BTreeMap::new(), observed };
    loop {
        let wanted = checks.borrow_and_update().clone();
        let complete = servers.follow(&wanted).await;
        let changed = checks.changed();
        let ended = if complete {
            changed.await.is_err()
        } else {
            tokio::time::timeout(RETRY, changed).await.is_ok_and(|changed| changed.is_err())
        };
        if ended {
            return;
        }
    }
}

struct Servers {
    open: BTreeMap<SocketAddr, Server>,
    observed: Arc<Observed>,
}

/// One listener. Dropping it closes it.
struct Server {
    service: ServiceName,
    endpoints: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Servers {
    /// False when an address could not be had.
    async fn follow(&mut self, checks: &Checks) -> bool {
        let wanted: BTreeMap<_, _> =
            checks.places().map(|(place, name, endpoints)| (place, (name, endpoints))).collect();
        self.open.retain(|place, server| wanted.get(place).is_some_and(|(name, _)| **name == server.service));
        let mut complete = true;
        for (place, (name, endpoints)) in wanted {
            match self.open.entry(place) {
                Entry::Occupied(open) => open.get().endpoints.store(endpoints, Ordering::Release),
                Entry::Vacant(vacant) => match start(place, name, endpoints, &self.observed).await {
                    Ok(server) => {
                        vacant.insert(server);
                    }
                    Err(error) => {
                        self.observed.reports.leave(cannot_listen(name, place, &error));
                        complete = false;
                    }
                },
            }
        }
        complete
    }
}

fn cannot_listen(service: &ServiceName, place: SocketAddr, error: &std::io::Error) -> Report {
    let note = format!("the health check cannot listen on {place}: {error}");
    warn!("the Service {service}: {note}");
    Report { service: service.clone(), reason: "FailedToStartServiceHealthcheck", action: "Listen", note }
}

async fn start(
    place: SocketAddr,
    service: &ServiceName,
    endpoints: usize,
    observed: &Arc<Observed>,
) -> std::io::Result<Server> {
    let listener = TcpListener::bind(place).await?;
    info!("answering the health check of {service} on {place}");
    let endpoints = Arc::new(AtomicUsize::new(endpoints));
    let task = tokio::spawn(serve(listener, routes(service, &endpoints, observed)));
    Ok(Server { service: service.clone(), endpoints, task })
}

fn routes(service: &ServiceName, endpoints: &Arc<AtomicUsize>, observed: &Arc<Observed>) -> Routes {
    let (service, endpoints, observed) = (service.clone(), Arc::clone(endpoints), Arc::clone(observed));
    Arc::new(move |_, _| answer(&service, endpoints.load(Ordering::Acquire), observed.health.is_healthy()))
}

fn answer(service: &ServiceName, endpoints: usize, healthy: bool) -> Response {
    let status = if endpoints != 0 && healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = format!(
        "{{\n\t\"service\": {{\n\t\t\"namespace\": \"{}\",\n\t\t\"name\": \"{}\"\n\t}},\n\t\"localEndpoints\": {endpoints},\n\t\"serviceProxyHealthy\": {healthy}\n}}",
        service.namespace(),
        service.name()
    );
    let mut answer = response(status, "application/json", body);
    answer.headers_mut().insert("X-Load-Balancing-Endpoint-Weight", endpoints.into());
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use services::Model;

    fn model(policy: &str, endpoints: &Value) -> Model {
        let mut model = Model::new();
        let service = json!({
            "metadata": {"namespace": "a", "name": "b"},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.9", "externalTrafficPolicy": policy,
                "healthCheckNodePort": 30_100, "ports": [{"port": 80}, {"name": "x", "port": 81}],
            },
        });
        let slice = json!({
            "metadata": {"namespace": "a", "name": "b-1", "labels": {"kubernetes.io/service-name": "b"}},
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 80}, {"name": "x", "port": 81}],
        });
        model.apply_service(&serde_json::from_value(service).unwrap()).unwrap();
        model.apply_slice(&serde_json::from_value(slice).unwrap()).unwrap();
        model
    }

    fn endpoint(address: &str, node: &str, conditions: Value) -> Value {
        json!({"addresses": [address], "nodeName": node, "conditions": conditions})
    }

    fn places(checks: &Checks) -> Vec<(String, usize)> {
        checks.places().map(|(place, _, endpoints)| (place.to_string(), endpoints)).collect()
    }

    fn update(checks: &mut Checks, model: &mut Model) -> bool {
        let addresses = ["192.168.0.2", "fe80::1"].map(|address| address.parse().unwrap());
        checks.update("here", &model.snapshot(), &model.take_changes(), addresses.into_iter())
    }

    #[test]
    fn ready_endpoints_of_this_node_are_counted_once() {
        let mut checks = Checks::default();
        let mut local = model(
            "Local",
            &json!([
                endpoint("10.0.0.1", "here", json!({"ready": true})),
                endpoint("10.0.0.1", "here", json!({"ready": true})),
                endpoint("10.0.0.2", "here", json!({})),
                endpoint("10.0.0.3", "elsewhere", json!({"ready": true})),
                endpoint("10.0.0.4", "here", json!({"ready": false, "serving": true, "terminating": true})),
            ]),
        );
        assert!(update(&mut checks, &mut local));
        assert_eq!(places(&checks), [("192.168.0.2:30100".to_owned(), 2)]);
        assert!(!update(&mut checks, &mut local), "nothing changed");
        local.delete_slice(&ServiceName::new("a", "b-1"));
        assert!(update(&mut checks, &mut local));
        assert_eq!(places(&checks), [("192.168.0.2:30100".to_owned(), 0)]);
        local.delete_service(&ServiceName::new("a", "b"));
        assert!(update(&mut checks, &mut local));
        assert_eq!(places(&checks), []);
    }

    #[test]
    fn other_policies_have_no_check() {
        let mut checks = Checks::default();
        update(&mut checks, &mut model("Cluster", &json!([])));
        assert_eq!(places(&checks), []);
    }

    #[test]
    fn answers_are_those_of_kube_proxy() {
        let service = ServiceName::new("a", "b");
        for (endpoints, healthy, status) in [(2, true, 200), (0, true, 503), (2, false, 503)] {
            let answer = answer(&service, endpoints, healthy);
            assert_eq!(answer.status(), status);
            let weight = &answer.headers()["X-Load-Balancing-Endpoint-Weight"];
            assert_eq!(weight.to_str().unwrap(), endpoints.to_string());
        }
    }
}
