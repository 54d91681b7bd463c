//! `get -w`: what is there, then each change as it comes.

use std::process::ExitCode;

use serde_json::Value;

use super::{Args, name_line, selection, tables};
use crate::commands::{
    api::{JSON, Session, TABLE, resource::Resource, watch::Watch},
    failure::Failure,
    listing, output,
    print::{columns, columns::Shown, key_order, output_format::OutputFormat, table::Table},
    targets::Target,
};

/// Runs until the server or the user ends it.
pub(super) async fn run(
    args: &Args,
    session: &Session,
    targets: &[Target],
    format: &OutputFormat,
) -> Result<ExitCode, Failure> {
    let [target] = targets else {
        return Err(Failure::usage("you may only specify a single resource type"));
    };
    let mut selection = selection(args, session);
    if let Some(name) = &target.name {
        selection.fields = format!("metadata.name={name}");
    }
    let accept = if format.is_table() { TABLE } else { JSON };
    let list = listing::list(session, &target.resource, &selection, accept).await?;
    let mut printer = Printer::new(args, &target.resource, format);
    if !args.watch_only {
        printer.list(&list)?;
    }
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let path = selection.path(&target.resource, &[("resourceVersion", version), ("watch", "true")]);
    let mut watch = Watch::start(session, &path, accept).await?;
    while let Some((event, object)) = watch.next().await? {
        if event != "BOOKMARK" {
            printer.event(&event, &object)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

struct Printer<'a> {
    resource: &'a Resource,
    format: &'a OutputFormat,
    events: bool,
    shown: Shown,
    table: Table,
    headers: bool,
    definitions: Value,
    documents: usize,
}

impl<'a> Printer<'a> {
    fn new(args: &Args, resource: &'a Resource, format: &'a OutputFormat) -> Self {
        Self {
            resource,
            format,
            events: args.output_watch_events,
            shown: tables::shown(resource, false, args, format),
            table: Table::default(),
            headers: !args.no_headers,
            definitions: Value::Null,
            documents: 0,
        }
    }

    fn list(&mut self, list: &Value) -> Result<(), Failure> {
        if self.format.is_table() {
            return self.rows("ADDED", list);
        }
        let items = listing::items(list.clone(), self.resource);
        items.iter().try_for_each(|object| self.object("ADDED", object))
    }

    fn event(&mut self, event: &str, object: &Value) -> Result<(), Failure> {
        if self.format.is_table() { self.rows(event, object) } else { self.object(event, object) }
    }

    /// Columns are described in the first event only.
    fn rows(&mut self, event: &str, value: &Value) -> Result<(), Failure> {
        let mut value = tables::as_table(value);
        if value["columnDefinitions"].as_array().is_some_and(|columns| !columns.is_empty()) {
            self.definitions = value["columnDefinitions"].clone();
        } else {
            value["columnDefinitions"] = self.definitions.clone();
        }
        self.shown.event = self.events.then(|| event.to_owned());
        let rows = columns::rows(&value, &self.shown);
        if !rows.is_empty() && std::mem::take(&mut self.headers) {
            self.table.row(columns::header(&value, &self.shown));
        }
        rows.into_iter().for_each(|row| self.table.row(row));
        output::write(&self.table.flush())
    }

    fn object(&mut self, event: &str, object: &Value) -> Result<(), Failure> {
        let object = key_order::sorted(object);
        let printed =
            if self.events { serde_json::json!({"object": object, "type": event}) } else { object.clone() };
        let mut text = self.format.render(&printed, &name_line(self.resource, &object))?;
        if matches!(self.format, OutputFormat::Yaml) && self.documents > 0 {
            text.insert_str(0, "---\n");
        }
        self.documents += 1;
        output::write(&text)
    }
}
