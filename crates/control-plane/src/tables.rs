//! Server-side printing: objects as the rows that `kubectl get` shows.

use jiff::Timestamp;
use objects::resource::Resource;
use serde_json::{Value, json};

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

/// Renders `objects` of `resource` as seen at `now`.
pub(crate) fn render(_resource: &Resource, objects: &[Value], _now: Timestamp) -> Table {
    let columns = json!([
        {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
        {"name": "Created At", "type": "date", "format": "", "description": "", "priority": 0},
    ]);
    let row = |object: &Value| Row {
        cells: vec![object["metadata"]["name"].clone(), object["metadata"]["creationTimestamp"].clone()],
        conditions: Vec::new(),
    };
    Table { columns, rows: objects.iter().map(row).collect() }
}
