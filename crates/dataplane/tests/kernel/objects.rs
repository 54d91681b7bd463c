//! Services and slices for the tests, and a node's proxy without the API.

use dataplane::forwarding_table::{ForwardingTable, NodeFacts};
use dataplane::reconcile::{Reconciler, Synced};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::json;
use services::{Model, ServiceName};

/// Model, table and reconciler of one node.
pub(crate) struct Proxy {
    pub(crate) model: Model,
    pub(crate) table: ForwardingTable,
    pub(crate) reconciler: Reconciler,
}

impl Proxy {
    pub(crate) fn open() -> Self {
        let facts = facts();
        Self {
            model: Model::new(),
            table: ForwardingTable::new(facts),
            reconciler: Reconciler::open().unwrap(),
        }
    }

    /// Adds or changes a Service with a port for TCP and UDP.
    pub(crate) fn service(&mut self, name: &str, ip: &str, port: u16) {
        self.model.apply_service(&service(name, ip, port)).unwrap();
    }

    /// Gives a Service exactly these ready endpoints.
    pub(crate) fn endpoints(&mut self, service: &str, addresses: &[&str]) {
        self.model.apply_slice(&slice(service, addresses)).unwrap();
    }

    pub(crate) fn delete(&mut self, service: &str) {
        let name = ServiceName::new("default", service);
        self.model.delete_service(&name);
        self.model.delete_slice(&name);
    }

    /// Brings the kernel up to date.
    pub(crate) fn sync(&mut self) -> Synced {
        let changes = self.model.take_changes();
        let touched = self.table.update(&self.model.snapshot(), &changes);
        self.reconciler.sync(&self.table, &touched).unwrap()
    }

    /// Asserts that the kernel, read back, says the same as the table.
    pub(crate) fn assert_in_sync(&self) {
        assert_eq!(dataplane::reconcile::dump().unwrap(), self.table.lines());
    }
}

pub(crate) fn facts() -> NodeFacts {
    NodeFacts::new("worker-1", ["10.96.0.0/16".parse().unwrap()])
}

pub(crate) fn service(name: &str, ip: &str, port: u16) -> core::Service {
    let ports = json!([
        {"name": "tcp", "port": port, "protocol": "TCP"},
        {"name": "udp", "port": port, "protocol": "UDP"},
    ]);
    let spec = json!({"clusterIPs": [ip], "ports": ports});
    serde_json::from_value(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec})).unwrap()
}

pub(crate) fn slice(service: &str, addresses: &[&str]) -> discovery::EndpointSlice {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| {
            let node = if address.starts_with("10.244.1.") { "worker-1" } else { "worker-2" };
            json!({"addresses": [address], "nodeName": node})
        })
        .collect();
    serde_json::from_value(json!({
        "addressType": "IPv4",
        "metadata": {"name": service, "namespace": "default",
                     "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "tcp", "port": 9898, "protocol": "TCP"},
                  {"name": "udp", "port": 9898, "protocol": "UDP"}],
        "endpoints": endpoints,
    }))
    .unwrap()
}
