//! A service, with the endpoints of its slices.

use std::fmt::Write as _;

use serde_json::Value;

use super::metadata::{annotations, labels, list, or_none, plain, selector, text};
use crate::commands::{
    api::{JSON, Session, resource::Resource},
    failure::Failure,
    listing::{self, Selection},
};

/// Endpoints shown of a port (kubectl's number).
const ENDPOINTS_SHOWN: usize = 3;

/// Reads the slices of a service.
pub(super) async fn slices(session: &Session, service: &Value) -> Result<Vec<Value>, Failure> {
    let metadata = &service["metadata"];
    let resource = Resource::fixed("discovery.k8s.io", "EndpointSlice", "endpointslices", true);
    let selection = Selection {
        labels: format!("kubernetes.io/service-name={}", text(&metadata["name"])),
        ..Selection::within(text(&metadata["namespace"]))
    };
    Ok(listing::items(listing::list(session, &resource, &selection, JSON).await?, &resource))
}

/// The description as lines with tabs.
pub(super) fn describe(service: &Value, slices: &[Value]) -> String {
    let (metadata, spec) = (&service["metadata"], &service["spec"]);
    let mut out = String::new();
    let mut line = |title: &str, value: &str| {
        let _ = writeln!(out, "{title}:\t{value}");
    };
    line("Name", text(&metadata["name"]));
    line("Namespace", text(&metadata["namespace"]));
    labels(&mut out, "Labels", &metadata["labels"]);
    annotations(&mut out, "Annotations", &metadata["annotations"]);
    addresses(&mut out, service);
    for port in list(&spec["ports"]) {
        describe_port(&mut out, port, slices);
    }
    policies(&mut out, spec);
    out
}

fn addresses(out: &mut String, service: &Value) {
    let spec = &service["spec"];
    let joined = |value: &Value| list(value).iter().map(text).collect::<Vec<_>>().join(",");
    let ingress =
        list(&service["status"]["loadBalancer"]["ingress"]).iter().map(|entry| match text(&entry["ip"]) {
            "" => text(&entry["hostname"]).to_owned(),
            address => match entry["ipMode"].as_str() {
                Some(mode) => format!("{address} ({mode})"),
                None => address.to_owned(),
            },
        });
    let always = [("Selector", selector(&spec["selector"])), ("Type", text(&spec["type"]).to_owned())];
    let given = [
        ("External IPs", joined(&spec["externalIPs"])),
        ("Desired LoadBalancer IP", text(&spec["loadBalancerIP"]).to_owned()),
        ("External Name", text(&spec["externalName"]).to_owned()),
        ("LoadBalancer Ingress", ingress.collect::<Vec<_>>().join(", ")),
    ];
    for (title, value) in always {
        let _ = writeln!(out, "{title}:\t{value}");
    }
    if let Some(policy) = spec["ipFamilyPolicy"].as_str() {
        let _ = writeln!(out, "IP Family Policy:\t{policy}");
    }
    let _ = writeln!(out, "IP Families:\t{}", or_none(&joined(&spec["ipFamilies"])));
    let _ = writeln!(out, "IP:\t{}", text(&spec["clusterIP"]));
    let _ = writeln!(out, "IPs:\t{}", or_none(&joined(&spec["clusterIPs"])));
    for (title, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{title}:\t{value}");
    }
}

fn describe_port(out: &mut String, port: &Value, slices: &[Value]) {
    let name = text(&port["name"]);
    let shown = if name.is_empty() { "<unset>" } else { name };
    let protocol = text(&port["protocol"]);
    let _ = writeln!(out, "Port:\t{shown}\t{}/{protocol}", plain(&port["port"]));
    let _ = writeln!(out, "TargetPort:\t{}/{protocol}", plain(&port["targetPort"]));
    if let Some(application) = port["appProtocol"].as_str() {
        let _ = writeln!(out, "AppProtocol:\t{application}");
    }
    if let Some(number) = port["nodePort"].as_i64().filter(|number| *number != 0) {
        let _ = writeln!(out, "NodePort:\t{shown}\t{number}/{protocol}");
    }
    let _ = writeln!(out, "Endpoints:\t{}", endpoints(slices, name));
}

/// The first ready endpoints of a port, and how many more there are.
fn endpoints(slices: &[Value], port_name: &str) -> String {
    if slices.is_empty() {
        return "<none>".to_owned();
    }
    let mut ready = Vec::new();
    for slice in slices {
        let addresses =
            list(&slice["endpoints"]).iter().filter(|endpoint| endpoint["conditions"]["ready"] != false);
        let addresses: Vec<&str> = addresses.map(|endpoint| text(&endpoint["addresses"][0])).collect();
        let ports = list(&slice["ports"]);
        if ports.is_empty() {
            ready.extend(addresses.iter().map(|address| (*address).to_owned()));
        }
        for port in ports.iter().filter(|port| text(&port["name"]) == port_name) {
            ready.extend(addresses.iter().map(|address| socket(address, &plain(&port["port"]))));
        }
    }
    let shown = ready[..ready.len().min(ENDPOINTS_SHOWN)].join(",");
    match ready.len().saturating_sub(ENDPOINTS_SHOWN) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn socket(address: &str, port: &str) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

fn policies(out: &mut String, spec: &Value) {
    let ranges = list(&spec["loadBalancerSourceRanges"]).iter().map(text).collect::<Vec<_>>().join(",");
    let _ = writeln!(out, "Session Affinity:\t{}", text(&spec["sessionAffinity"]));
    let given = [
        ("External Traffic Policy", plain(&spec["externalTrafficPolicy"])),
        ("Internal Traffic Policy", plain(&spec["internalTrafficPolicy"])),
        ("HealthCheck NodePort", plain(&spec["healthCheckNodePort"])),
        ("LoadBalancer Source Ranges", ranges),
        ("Traffic Distribution", plain(&spec["trafficDistribution"])),
    ];
    for (title, value) in given.into_iter().filter(|(_, value)| !value.is_empty()) {
        let _ = writeln!(out, "{title}:\t{value}");
    }
}
