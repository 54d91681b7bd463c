//! The Service under load, `web`, and two hundred others that only change.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

/// Pods that may be endpoints, half of them on each node.
pub(crate) const PODS: usize = 12;

/// Services that only change.
pub(crate) const OTHERS: u32 = 200;

/// `web`'s address.
pub(crate) const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 1, 1);

/// One of `web`'s ports.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    pub(crate) port: u16,
    pub(crate) target: u16,
}

/// Connections that are answered and closed.
pub(crate) const SHORT: Port = Port { port: 80, target: 9898 };
/// Connections that stand.
pub(crate) const LONG: Port = Port { port: 81, target: 9899 };
/// Datagrams.
pub(crate) const DATAGRAMS: Port = Port { port: 53, target: 5353 };
/// `SHORT`'s node port.
pub(crate) const NODE_PORT: u16 = 30080;

/// An endpoint of `web` in some condition.
#[derive(Clone, Copy)]
pub(crate) struct Member {
    pod: usize,
    conditions: [bool; 3],
}

impl Member {
    pub(crate) fn ready(pod: usize) -> Self {
        Self { pod, conditions: [true, true, false] }
    }

    pub(crate) fn unready(pod: usize) -> Self {
        Self { pod, conditions: [false, false, false] }
    }

    pub(crate) fn terminating(pod: usize) -> Self {
        Self { pod, conditions: [false, true, true] }
    }

    /// Its address, when it takes new connections.
    pub(crate) fn serves(&self) -> Option<IpAddr> {
        self.conditions[0].then(|| pod(self.pod))
    }
}

pub(crate) fn ready(pods: &[usize]) -> Vec<Member> {
    pods.iter().map(|pod| Member::ready(*pod)).collect()
}

/// The address of the pod with this number: even ones are on the first node.
pub(crate) fn pod(number: usize) -> IpAddr {
    let host = 100 + u8::try_from(number).unwrap_or(0);
    Ipv4Addr::new(10, 244, 1 + u8::from(number % 2 == 1), host).into()
}

pub(crate) fn through(port: Port) -> SocketAddr {
    SocketAddr::new(ADDRESS.into(), port.port)
}

pub(crate) fn web() -> Service {
    read(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "clusterIPs": [ADDRESS], "ports": [
            {"name": "short", "protocol": "TCP", "port": SHORT.port, "nodePort": NODE_PORT},
            {"name": "long", "protocol": "TCP", "port": LONG.port},
            {"name": "datagrams", "protocol": "UDP", "port": DATAGRAMS.port},
        ]},
    }))
}

pub(crate) fn web_slice(members: &[Member]) -> EndpointSlice {
    let endpoint = |member: &Member| {
        let [ready, serving, terminating] = member.conditions;
        json!({"addresses": [pod(member.pod)], "nodeName": format!("worker-{}", 1 + member.pod % 2),
               "conditions": {"ready": ready, "serving": serving, "terminating": terminating}})
    };
    let endpoints: Vec<Value> = members.iter().map(endpoint).collect();
    slice(
        "web",
        &endpoints,
        json!([
            {"name": "short", "protocol": "TCP", "port": SHORT.target},
            {"name": "long", "protocol": "TCP", "port": LONG.target},
            {"name": "datagrams", "protocol": "UDP", "port": DATAGRAMS.target},
        ]),
    )
}

pub(crate) fn other(number: u32) -> Service {
    read(json!({
        "metadata": {"name": format!("other-{number}"), "namespace": "default"},
        "spec": {"clusterIPs": [Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 2, 0)) + number)],
                 "ports": [{"protocol": "TCP", "port": 80}]},
    }))
}

/// Other endpoints, and another number of them, with each change.
pub(crate) fn other_slice(number: u32, change: u32) -> EndpointSlice {
    let address = |index: u32| {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 8, 0)) + (number + change + index) % 1000)
    };
    let endpoints: Vec<Value> =
        (0..1 + change % 4).map(|index| json!({"addresses": [address(index)]})).collect();
    slice(&format!("other-{number}"), &endpoints, json!([{"protocol": "TCP", "port": 8080}]))
}

fn slice(name: &str, endpoints: &[Value], ports: Value) -> EndpointSlice {
    let mut object = json!({
        "addressType": "IPv4",
        "metadata": {"name": format!("{name}-1"), "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "endpoints": endpoints,
    });
    object["ports"] = ports;
    read(object)
}

fn read<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).expect("an object of Kubernetes")
}
