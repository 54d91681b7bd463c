//! The tables of `get`: one for each type, a blank line between them.

use serde_json::Value;

use super::{Args, Found, sort};
use crate::commands::{
    api::resource::Resource,
    failure::Failure,
    print::{
        columns::{self, Shown},
        output_format::OutputFormat,
        table::Table,
    },
};

/// All tables as text; empty if no row was found.
pub(super) fn render(found: &[Found], args: &Args, format: &OutputFormat) -> Result<String, Failure> {
    let several = found.iter().any(|(resource, _)| *resource != found[0].0);
    let mut text = String::new();
    let mut rest = found;
    while let Some((resource, _)) = rest.first() {
        let length = rest.iter().take_while(|(other, _)| other == resource).count();
        let (group, after) = rest.split_at(length);
        let table = table_of(group, &shown(resource, several, args, format), args)?;
        if !table.is_empty() && !text.is_empty() && !args.no_headers {
            text.push('\n');
        }
        text.push_str(&table);
        rest = after;
    }
    Ok(text)
}

fn table_of(group: &[Found], shown: &Shown, args: &Args) -> Result<String, Failure> {
    let mut table = Table::default();
    let mut headers = !args.no_headers;
    for (_, value) in group {
        let mut value = as_table(value);
        if let Some(path) = &args.sort_by {
            sort::rows(&mut value, path)?;
        }
        let rows = columns::rows(&value, shown);
        if !rows.is_empty() && std::mem::take(&mut headers) {
            table.row(columns::header(&value, shown));
        }
        rows.into_iter().for_each(|row| table.row(row));
    }
    Ok(table.flush())
}

/// What to show of a type.
pub(super) fn shown(resource: &Resource, several: bool, args: &Args, format: &OutputFormat) -> Shown {
    Shown {
        wide: matches!(format, OutputFormat::Wide),
        namespace: args.all_namespaces && resource.namespaced,
        kind: (several || args.show_kind).then(|| resource.qualified_kind()),
        labels: args.show_labels,
        label_columns: args.label_columns.clone(),
        event: None,
    }
}

/// The server's Table, or one of names and ages where a server sent plain objects.
pub(super) fn as_table(value: &Value) -> Value {
    if value["kind"] == "Table" {
        return value.clone();
    }
    let objects = value["items"].as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    let row = |object: Value| {
        let metadata = &object["metadata"];
        let age = crate::commands::age::since(metadata["creationTimestamp"].as_str().unwrap_or_default());
        serde_json::json!({"cells": [metadata["name"], age], "object": object})
    };
    let rows: Vec<Value> = objects.into_iter().map(row).collect();
    serde_json::json!({"kind": "Table", "columnDefinitions": [{"name": "Name"}, {"name": "Age"}], "rows": rows})
}
