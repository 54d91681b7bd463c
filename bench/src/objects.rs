//! Generated Services and EndpointSlices.

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::discovery::v1 as discovery;
use serde_json::json;

pub(crate) fn name(number: u32) -> String {
    format!("service-{number}")
}

/// Its address is the `number`th of 10.96.1.0 and up, its port 80.
pub(crate) fn service(number: u32) -> core::Service {
    let address = std::net::Ipv4Addr::from(u32::from_be_bytes([10, 96, 1, 0]) + number);
    let spec = json!({"clusterIPs": [address], "ports": [{"port": 80, "protocol": "TCP"}]});
    object(json!({"metadata": {"name": name(number), "namespace": "default"}, "spec": spec}))
}

/// A slice with so many endpoints, the first of them in its `version`th form.
pub(crate) fn slice(number: u32, endpoints: u32, version: u32) -> discovery::EndpointSlice {
    let address = |pod: u32| {
        let host = number * 64 + pod + if pod == 0 { 48 * version } else { 0 };
        std::net::Ipv4Addr::from(u32::from_be_bytes([10, 128, 0, 0]) + host)
    };
    let endpoints: Vec<_> = (0..endpoints)
        .map(|pod| json!({"addresses": [address(pod)], "nodeName": format!("worker-{}", pod % 100)}))
        .collect();
    let labels = json!({"kubernetes.io/service-name": name(number)});
    object(json!({
        "addressType": "IPv4",
        "metadata": {"name": name(number), "namespace": "default", "labels": labels},
        "ports": [{"port": 9898, "protocol": "TCP", "name": ""}],
        "endpoints": endpoints,
    }))
}

fn object<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).expect("our own objects decode")
}
