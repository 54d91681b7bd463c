//! The Services of the cluster, for the `*_SERVICE_HOST` variables of containers.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher as watch_objects};
use tokio::sync::watch;

/// What variables need of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Known {
    address: String,
    ports: Vec<Port>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Port {
    name: Option<String>,
    number: i32,
    protocol: String,
}

/// By namespace and name.
type Table = BTreeMap<(String, String), Known>;

/// The Services with a ClusterIP.
#[derive(Debug, Default)]
pub(crate) struct Services {
    table: Mutex<Table>,
    synced: watch::Sender<bool>,
}

impl Services {
    /// Follows the API until dropped.
    pub(crate) async fn follow(&self, client: kube::Client) {
        let stream = watch_objects(Api::<Service>::all(client), watcher::Config::default());
        let mut stream = stream.default_backoff().boxed();
        let mut listing = Table::new();
        loop {
            match stream.try_next().await {
                Ok(Some(event)) => self.apply(event, &mut listing),
                Ok(None) => return,
                Err(error) => tracing::debug!(%error, "watch of Services interrupted"),
            }
        }
    }

    fn apply(&self, event: Event<Service>, listing: &mut Table) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => listing.clear(),
            Event::InitApply(service) => put(listing, &service),
            Event::InitDone => {
                *table = std::mem::take(listing);
                self.synced.send_replace(true);
            }
            Event::Apply(service) => put(&mut table, &service),
            Event::Delete(service) => {
                table.remove(&key(&service));
            }
        }
    }

    /// Waits for the first complete list: a container started before would lack variables.
    pub(crate) async fn synced(&self) {
        // The sender lives in self, so waiting cannot fail.
        self.synced.subscribe().wait_for(|synced| *synced).await.ok();
    }

    /// The variables for a pod: of the API always, of its own namespace's Services with `links`.
    pub(crate) fn variables(&self, namespace: &str, links: bool) -> Vec<(String, String)> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut variables = Vec::new();
        for ((of, name), service) in &*table {
            let is_api = of == "default" && name == "kubernetes";
            if is_api || links && of == namespace {
                describe(name, service, &mut variables);
            }
        }
        variables
    }
}

fn key(service: &Service) -> (String, String) {
    let metadata = &service.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

fn put(table: &mut Table, service: &Service) {
    let spec = service.spec.as_ref();
    let address = spec.and_then(|spec| spec.cluster_ip.clone()).filter(|ip| !ip.is_empty() && ip != "None");
    let Some(address) = address else {
        table.remove(&key(service));
        return;
    };
    let ports = spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let ports = ports
        .map(|port| Port {
            name: port.name.clone(),
            number: port.port,
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        })
        .collect();
    table.insert(key(service), Known { address, ports });
}

/// The kubelet's names, and Docker's for links.
fn describe(name: &str, service: &Known, variables: &mut Vec<(String, String)>) {
    let prefix = upper(name);
    let Some(first) = service.ports.first() else {
        return;
    };
    let address = &service.address;
    let mut add = |name: String, value: String| variables.push((name, value));
    add(format!("{prefix}_SERVICE_HOST"), address.clone());
    add(format!("{prefix}_SERVICE_PORT"), first.number.to_string());
    for port in &service.ports {
        if let Some(name) = &port.name {
            add(format!("{prefix}_SERVICE_PORT_{}", upper(name)), port.number.to_string());
        }
    }
    let url = |port: &Port| format!("{}://{address}:{}", port.protocol.to_lowercase(), port.number);
    add(format!("{prefix}_PORT"), url(first));
    for port in &service.ports {
        let start = format!("{prefix}_PORT_{}_{}", port.number, port.protocol.to_uppercase());
        add(start.clone(), url(port));
        add(format!("{start}_PROTO"), port.protocol.to_lowercase());
        add(format!("{start}_PORT"), port.number.to_string());
        add(format!("{start}_ADDR"), address.clone());
    }
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

    fn service(namespace: &str, name: &str, address: &str) -> Service {
        let mut service = Service::default();
        service.metadata.namespace = Some(namespace.to_owned());
        service.metadata.name = Some(name.to_owned());
        let port = ServicePort { name: Some("http".to_owned()), port: 80, ..ServicePort::default() };
        service.spec = Some(ServiceSpec {
            cluster_ip: Some(address.to_owned()),
            ports: Some(vec![port]),
            ..ServiceSpec::default()
        });
        service
    }

    #[test]
    fn variables_of_the_own_namespace_and_the_api() {
        let services = Services::default();
        let mut listing = Table::new();
        services.apply(Event::Init, &mut listing);
        for service in [
            service("default", "kubernetes", "10.96.0.1"),
            service("shop", "my-cart", "10.96.1.1"),
            service("shop", "headless", "None"),
            service("other", "cart", "10.96.1.2"),
        ] {
            services.apply(Event::InitApply(service), &mut listing);
        }
        services.apply(Event::InitDone, &mut listing);
        let variables = services.variables("shop", true);
        let value =
            |name: &str| variables.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(value("KUBERNETES_SERVICE_HOST"), Some("10.96.0.1"));
        assert_eq!(value("MY_CART_SERVICE_PORT_HTTP"), Some("80"));
        assert_eq!(value("MY_CART_PORT_80_TCP"), Some("tcp://10.96.1.1:80"));
        assert_eq!(value("CART_SERVICE_HOST"), None);
        assert_eq!(value("HEADLESS_SERVICE_HOST"), None);
        assert_eq!(services.variables("shop", false).len(), 8);
    }
}
