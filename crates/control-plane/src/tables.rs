//! Server-side printing: objects as the rows that `kubectl get` shows.
//!
//! Columns and cells are kube-apiserver 1.37's (`pkg/printers/internalversion`); rows always hold the wide columns too, which
//! clients hide by priority. Columns are data (`columns.json`), cells are one function for each kind. A kind without one gets
//! its name and time of creation, as upstream does.

mod cluster;
mod endpoints;
mod event;
mod pod;
mod service;
mod workload;

use std::sync::LazyLock;

use jiff::Timestamp;
use objects::duration::age;
use objects::resource::Resource;
use serde_json::{Map, Value, json};

/// Columns and rows; the caller adds each row's `object` and the list's metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    /// `columnDefinitions`.
    pub(crate) columns: Value,
    /// One for each object, in the same order.
    pub(crate) rows: Vec<Row>,
}

/// One object's row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// As many as there are columns.
    pub(crate) cells: Vec<Value>,
    /// Such as `Completed`; mostly empty.
    pub(crate) conditions: Vec<Value>,
}

static COLUMNS: LazyLock<Map<String, Value>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("tables/columns.json"))
        .expect("invariant: the columns are JSON of ours")
});

/// What the cells of an object are made from.
struct Source<'o> {
    object: &'o Value,
    now: Timestamp,
}

impl<'o> Source<'o> {
    fn metadata(&self) -> &'o Value {
        &self.object["metadata"]
    }

    fn spec(&self) -> &'o Value {
        &self.object["spec"]
    }

    fn status(&self) -> &'o Value {
        &self.object["status"]
    }

    fn name(&self) -> Value {
        json!(text(self.metadata(), "name"))
    }

    fn age(&self) -> Value {
        json!(age(&self.metadata()["creationTimestamp"], self.now))
    }
}

/// Renders `objects` of `resource` as seen at `now`.
pub(crate) fn render(resource: &Resource, objects: &[Value], now: Timestamp) -> Table {
    // The two groups that serve events print alike.
    let columns = COLUMNS.get(resource.plural).unwrap_or(&COLUMNS["limitranges"]).clone();
    let cells = cells_of(resource.plural);
    let row = |object: &Value| Row {
        cells: cells(&Source { object, now }),
        conditions: if resource.plural == "pods" { pod::conditions(object) } else { Vec::new() },
    };
    Table { columns, rows: objects.iter().map(row).collect() }
}

fn cells_of(plural: &str) -> fn(&Source<'_>) -> Vec<Value> {
    match plural {
        "services" => service::cells,
        "endpoints" => endpoints::endpoints,
        "endpointslices" => endpoints::endpoint_slice,
        "pods" => pod::cells,
        "deployments" => workload::deployment,
        "replicasets" => workload::replica_set,
        "replicationcontrollers" => workload::replication_controller,
        "events" => event::cells,
        "nodes" => cluster::node,
        "namespaces" => cluster::namespace,
        "configmaps" => cluster::config_map,
        "secrets" => cluster::secret,
        "serviceaccounts" => cluster::service_account,
        "leases" => cluster::lease,
        "resourcequotas" => cluster::resource_quota,
        "ipaddresses" => cluster::ip_address,
        "servicecidrs" => cluster::service_cidr,
        _ => |source| vec![source.name(), source.metadata()["creationTimestamp"].clone()],
    }
}

/// The text of a field; empty if it is not there.
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

/// The number of a field; 0 if it is not there.
fn number(value: &Value, name: &str) -> i64 {
    value[name].as_i64().unwrap_or_default()
}

/// The items of a list; none if it is not there.
fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// `text`, or `otherwise` if it is empty.
fn or<'t>(text: &'t str, otherwise: &'t str) -> &'t str {
    if text.is_empty() { otherwise } else { text }
}

/// Texts joined by commas; `<none>` if there are none.
fn joined<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    or(&texts.into_iter().collect::<Vec<_>>().join(","), "<none>").to_owned()
}

/// `k=v,k2=v2` in order of keys; `<none>` if there are none.
fn labels(labels: &Value) -> String {
    let entries = labels.as_object().into_iter().flatten();
    let mut pairs: Vec<String> =
        entries.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    joined(pairs.iter().map(String::as_str))
}

#[cfg(test)]
mod tests;
