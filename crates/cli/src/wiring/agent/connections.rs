//! How many connections were made to each Service port on this node, as the kernel's own counters say: read when somebody
//! asks, summed over a Service port's addresses, told for those only that someone connected to.

use std::collections::{BTreeMap, HashMap};

use dataplane::forwarding_table::{ForwardingTable, FrontendKey};
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, Opts};
use services::{Protocol, ServiceName};
use tracing::warn;

/// A Service, its port's name (`""` when unnamed), its protocol.
type ServicePort = (ServiceName, String, Protocol);

/// Connections to each Service port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connections(BTreeMap<ServicePort, u64>);

/// What the kernel has counted, in this thread's network namespace; nothing when it cannot be read, which is told.
pub(crate) fn read() -> HashMap<FrontendKey, u64> {
    let counted = dataplane::reconcile::connections().unwrap_or_else(|error| {
        warn!(error = &error as &dyn std::error::Error, "connections cannot be counted");
        Vec::new()
    });
    counted.into_iter().collect()
}

impl Connections {
    /// Sums what was counted for the table's frontends.
    pub(crate) fn of(table: &ForwardingTable, counted: &HashMap<FrontendKey, u64>) -> Self {
        let mut sums = BTreeMap::new();
        for (key, count) in counted.iter().filter(|(_, count)| **count > 0) {
            if let Some(frontend) = table.frontend(key) {
                let port = (frontend.service.clone(), frontend.port.to_string(), key.protocol);
                *sums.entry(port).or_default() += count;
            }
        }
        Self(sums)
    }

    /// As one family of metrics; none while there are no connections, because a family without metrics cannot be written.
    pub(crate) fn families(&self) -> Vec<MetricFamily> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let options = Opts::new(
            "sluice_service_connections_total",
            "Connections made to a Service port through this node, refused ones included",
        );
        let labels = ["namespace", "service", "port_name", "protocol"];
        // The names are constants: it cannot fail, and a scrape is no place to stop the agent.
        let Ok(counters) = IntCounterVec::new(options, &labels) else { return Vec::new() };
        for ((service, port, protocol), count) in &self.0 {
            let protocol = protocol.to_string().to_uppercase();
            let values = [service.namespace(), service.name(), port.as_str(), protocol.as_str()];
            counters.with_label_values(&values).inc_by(*count);
        }
        counters.collect()
    }
}

#[cfg(test)]
mod tests {
    use dataplane::forwarding_table::NodeFacts;
    use serde_json::json;

    use super::super::metrics::{Metrics, Plane};
    use super::*;

    #[test]
    fn a_service_ports_addresses_are_one_counter() {
        let mut model = services::Model::new();
        let object = json!({
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIPs": ["10.96.1.1"], "externalIPs": ["198.51.100.8"],
                     "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]},
        });
        model.apply_service(&serde_json::from_value(object).unwrap()).unwrap();
        let table = ForwardingTable::build(NodeFacts::default(), &model.snapshot());
        let key = |address: &str, port| FrontendKey::new(Protocol::Tcp, address.parse().unwrap(), port);
        let dns = FrontendKey::new(Protocol::Udp, "10.96.1.1".parse().unwrap(), 53);
        let counted =
            [(key("10.96.1.1", 80), 5), (key("198.51.100.8", 80), 2), (key("10.96.9.9", 80), 9), (dns, 0)];
        let connections = Connections::of(&table, &counted.into());
        let text = Metrics::new().render(&Plane { connections, ..Plane::default() });
        let told: Vec<&str> =
            text.lines().filter(|line| line.starts_with("sluice_service_connections")).collect();
        let line = "sluice_service_connections_total{namespace=\"shop\",port_name=\"http\",protocol=\"TCP\",service=\"web\"} 7";
        assert_eq!(told, [line]);
        assert!(!Metrics::new().render(&Plane::default()).contains("service_connections"));
    }
}
