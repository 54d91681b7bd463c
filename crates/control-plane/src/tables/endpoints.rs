//! Endpoints and EndpointSlices: the first three addresses or ports, and how many more there are.

use serde_json::{Value, json};

use super::{Source, list, text};

const SHOWN: usize = 3;

fn shortened(all: &[String]) -> String {
    let shown = all[..all.len().min(SHOWN)].join(",");
    if all.len() > SHOWN { format!("{shown} + {} more...", all.len() - SHOWN) } else { shown }
}

pub(super) fn endpoints(source: &Source<'_>) -> Vec<Value> {
    let subsets = list(source.object, "subsets");
    let mut all = Vec::new();
    for subset in subsets {
        let addresses = list(subset, "addresses").iter().map(|address| text(address, "ip"));
        let ports = list(subset, "ports");
        if ports.is_empty() {
            all.extend(addresses.clone().map(str::to_owned));
        }
        for port in ports {
            all.extend(addresses.clone().map(|address| host_port(address, &port["port"])));
        }
    }
    let shown = if subsets.is_empty() { "<none>".to_owned() } else { shortened(&all) };
    vec![source.name(), json!(shown), source.age()]
}

fn host_port(address: &str, port: &Value) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub(super) fn endpoint_slice(source: &Source<'_>) -> Vec<Value> {
    let ports: Vec<String> = list(source.object, "ports")
        .iter()
        .map(|port| match (&port["port"], &port["name"]) {
            (Value::Number(number), _) => number.to_string(),
            (_, Value::String(name)) => name.clone(),
            _ => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = list(source.object, "endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "addresses"))
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect();
    let unset = |text: String| json!(if text.is_empty() { "<unset>".to_owned() } else { text });
    vec![
        source.name(),
        json!(text(source.object, "addressType")),
        unset(shortened(&ports)),
        unset(shortened(&addresses)),
        source.age(),
    ]
}
