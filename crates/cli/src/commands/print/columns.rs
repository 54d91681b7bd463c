//! The server's Table (`meta.k8s.io/v1`) as rows of text, with kubectl's extra columns.

use serde_json::Value;

/// Which columns are shown besides the server's own of priority 0.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// The server's further columns too (`-o wide`).
    pub(crate) wide: bool,
    /// NAMESPACE in front.
    pub(crate) namespace: bool,
    /// `service/` in front of names.
    pub(crate) kind: Option<String>,
    /// LABELS at the end.
    pub(crate) labels: bool,
    /// One column for each label key (`-L`).
    pub(crate) label_columns: Vec<String>,
    /// The type of each watch event in front.
    pub(crate) event: Option<String>,
}

/// The header row of a Table.
pub(crate) fn header(table: &Value, shown: &Shown) -> Vec<String> {
    let mut cells = Vec::new();
    if shown.event.is_some() {
        cells.push("EVENT".to_owned());
    }
    if shown.namespace {
        cells.push("NAMESPACE".to_owned());
    }
    let visible = definitions(table).iter().filter(|column| is_visible(column, shown));
    cells.extend(visible.map(|column| column["name"].as_str().unwrap_or_default().to_uppercase()));
    let last_part = |key: &String| key.rsplit('/').next().unwrap_or_default().to_uppercase();
    cells.extend(shown.label_columns.iter().map(last_part));
    if shown.labels {
        cells.push("LABELS".to_owned());
    }
    cells
}

/// The rows of a Table.
pub(crate) fn rows(table: &Value, shown: &Shown) -> Vec<Vec<String>> {
    let rows = table["rows"].as_array().map_or(&[][..], Vec::as_slice);
    rows.iter().map(|row| cells(table, row, shown)).collect()
}

fn cells(table: &Value, row: &Value, shown: &Shown) -> Vec<String> {
    let metadata = &row["object"]["metadata"];
    let mut cells = Vec::new();
    cells.extend(shown.event.clone());
    if shown.namespace {
        cells.push(metadata["namespace"].as_str().unwrap_or_default().to_owned());
    }
    let values = row["cells"].as_array().map_or(&[][..], Vec::as_slice);
    let visible = definitions(table)
        .iter()
        .zip(values)
        .enumerate()
        .filter(|(_, (column, _))| is_visible(column, shown));
    for (position, (_, value)) in visible {
        let text = cell(value);
        match &shown.kind {
            Some(kind) if position == 0 => cells.push(format!("{kind}/{text}")),
            _ => cells.push(text),
        }
    }
    let label = |key: &String| metadata["labels"][key].as_str().unwrap_or_default().to_owned();
    cells.extend(shown.label_columns.iter().map(label));
    if shown.labels {
        cells.push(labels(&metadata["labels"]));
    }
    cells
}

fn definitions(table: &Value) -> &[Value] {
    table["columnDefinitions"].as_array().map_or(&[], Vec::as_slice)
}

fn is_visible(column: &Value, shown: &Shown) -> bool {
    shown.wide || column["priority"].as_i64().unwrap_or(0) == 0
}

/// A cell's text, cut at its first line break.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => match text.find(['\n', '\r', '\u{c}']) {
            Some(end) => format!("{}...", &text[..end]),
            None => text.clone(),
        },
        other => other.to_string(),
    }
}

/// Labels as `k=v,k2=v2`, sorted; `<none>` without any.
pub(crate) fn labels(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    let mut pairs: Vec<String> =
        pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort();
    if pairs.is_empty() { "<none>".to_owned() } else { pairs.join(",") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_show_what_was_asked_for() {
        let table = json!({
            "columnDefinitions": [{"name": "Name"}, {"name": "Age"}, {"name": "Selector", "priority": 1}],
            "rows": [{"cells": ["x", "4s\nmore", null], "object": {"metadata": {"namespace": "a", "labels": {"z": "1", "b/k": "2"}}}}],
        });
        assert_eq!(header(&table, &Shown::default()), ["NAME", "AGE"]);
        assert_eq!(rows(&table, &Shown::default()), [["x", "4s..."]]);
        let shown = Shown {
            wide: true,
            namespace: true,
            kind: Some("service".to_owned()),
            labels: true,
            label_columns: vec!["b/k".to_owned()],
            event: None,
        };
        assert_eq!(header(&table, &shown), ["NAMESPACE", "NAME", "AGE", "SELECTOR", "K", "LABELS"]);
        assert_eq!(rows(&table, &shown), [["a", "service/x", "4s...", "", "2", "b/k=2,z=1"]]);
    }
}
