//! Services and slices for the tests, and a node's proxy without the API.

use dataplane::forwarding_table::{ForwardingTable, NodeFacts, Pods};
use dataplane::reconcile::{Reconciler, Synced};
use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::json;
use services::{Model, ServiceName};

use crate::node::{Pod, set_up};

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

    /// A proxy of a dual-stack node with these facts.
    pub(crate) fn with_facts(facts: NodeFacts) -> Self {
        Self { table: ForwardingTable::new(facts), ..Self::open() }
    }

    /// Gives a Service exactly these ready endpoints, of both families.
    pub(crate) fn endpoints_of_both(&mut self, service: &str, addresses: &[String]) {
        let (ipv6, ipv4): (Vec<&str>, Vec<&str>) =
            addresses.iter().map(String::as_str).partition(|address| address.contains(':'));
        self.model.apply_slice(&slice(service, &ipv4)).unwrap();
        let mut slice = slice(service, &ipv6);
        slice.address_type = "IPv6".to_owned();
        slice.metadata.name = Some(format!("{service}-6"));
        self.model.apply_slice(&slice).unwrap();
    }

    /// Takes over other facts of the node and brings the kernel up to date.
    pub(crate) fn set_facts(&mut self, facts: NodeFacts) -> Synced {
        let touched = self.table.set_facts(facts, &self.model.snapshot());
        self.reconciler.sync(&self.table, &touched).unwrap()
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

/// A node with a client's pod and one for each of these hosts, and a proxy of the Service `web` at 10.96.1.1:80, whose
/// endpoints they are.
pub(crate) fn web<const N: usize>(hosts: [u8; N]) -> (Pod, [Pod; N], Proxy) {
    set_up();
    let (client, servers) = (Pod::new(5), hosts.map(Pod::new));
    servers.iter().for_each(Pod::serve);
    let mut proxy = Proxy::open();
    proxy.service("web", "10.96.1.1", 80);
    let addresses: Vec<String> = servers.iter().map(|server| server.address.to_string()).collect();
    proxy.endpoints("web", &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    proxy.sync();
    (client, servers, proxy)
}

/// Adds or changes a Service by its spec and the load balancer's addresses.
pub(crate) fn apply(proxy: &mut Proxy, name: &str, spec: &serde_json::Value, load_balancer: &[&str]) {
    let ingress: Vec<_> = load_balancer.iter().map(|ip| json!({"ip": ip})).collect();
    let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec,
                        "status": {"loadBalancer": {"ingress": ingress}}});
    proxy.model.apply_service(&serde_json::from_value(object).unwrap()).unwrap();
}

/// A node with both families that tells pods by their addresses.
pub(crate) fn dual_stack_facts() -> NodeFacts {
    let cidrs = ["10.96.0.0/16", "fd00:96::/112"].map(|cidr| cidr.parse().unwrap());
    let pods = ["10.244.0.0/16", "fd00:244::/32"].map(|cidr| cidr.parse().unwrap());
    NodeFacts::new("worker-1", cidrs)
        .with_addresses(&[crate::node::NODE.into(), crate::node::NODE6.into()])
        .recognising(Pods::Cidrs(pods.into()))
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
            let here = address.starts_with("10.244.1.") || address.starts_with("fd00:244:1:");
            let node = if here { "worker-1" } else { "worker-2" };
            json!({"addresses": [address], "nodeName": node})
        })
        .collect();
    serde_json::from_value(json!({
        "addressType": "IPv4",
        "metadata": {"name": service, "namespace": "default",
                     "labels": {"kubernetes.io/service-name": service}},
        "ports": [{"name": "tcp", "port": 9898, "protocol": "TCP"},
                  {"name": "udp", "port": 9898, "protocol": "UDP"},
                  {"name": "sctp", "port": 9898, "protocol": "SCTP"}],
        "endpoints": endpoints,
    }))
    .unwrap()
}
