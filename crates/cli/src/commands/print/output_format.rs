//! The value of `-o`, and objects printed in it.

use serde_json::{Value, json};

use super::{custom_columns::CustomColumns, go_json, jsonpath::Template, key_order, yaml};
use crate::commands::failure::Failure;

/// How results are printed.
#[derive(Clone, Debug)]
pub(crate) enum OutputFormat {
    /// The verb's own sentence or table.
    Human,
    /// The table with all columns.
    Wide,
    /// `-o yaml`.
    Yaml,
    /// `-o json`.
    Json,
    /// `-o name`.
    Name,
    /// `-o jsonpath=…`.
    JsonPath(Template),
    /// `-o custom-columns=…`.
    Columns(CustomColumns),
}

/// What `-o` may be where tables are printed.
const OF_LISTS: &str = "custom-columns,json,jsonpath,name,wide,yaml";
/// What `-o` may be where one object is printed.
const OF_OBJECTS: &str = "json,jsonpath,name,yaml";

impl OutputFormat {
    /// Parses `-o` of a verb that prints tables.
    pub(crate) fn of_lists(text: Option<&str>) -> Result<Self, Failure> {
        let (name, argument) = split(text);
        match name {
            "wide" => Ok(Self::Wide),
            "custom-columns" => CustomColumns::parse(argument).map(Self::Columns).map_err(Failure::usage),
            _ => Self::common(name, argument, OF_LISTS),
        }
    }

    /// Parses `-o` of a verb that prints single objects.
    pub(crate) fn of_objects(text: Option<&str>) -> Result<Self, Failure> {
        let (name, argument) = split(text);
        Self::common(name, argument, OF_OBJECTS)
    }

    fn common(name: &str, argument: &str, allowed: &str) -> Result<Self, Failure> {
        match name {
            "" => Ok(Self::Human),
            "yaml" => Ok(Self::Yaml),
            "json" => Ok(Self::Json),
            "name" => Ok(Self::Name),
            "jsonpath" if argument.is_empty() => {
                Err(Failure::usage("template format specified but no template given"))
            }
            "jsonpath" => Template::parse(argument)
                .map(Self::JsonPath)
                .map_err(|error| Failure::usage(format!("error parsing jsonpath {argument}, {error}"))),
            other => Err(Failure::usage(format!(
                "unable to match a printer suitable for the output format {other:?}, allowed formats are: {allowed}"
            ))),
        }
    }

    /// Whether the server's table is wanted.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Human | Self::Wide)
    }

    /// One object or list in this format, in the object's own key order for JSON; `name` is its `-o name` line.
    pub(crate) fn render(&self, object: &Value, name: &str) -> Result<String, Failure> {
        match self {
            Self::Human | Self::Wide | Self::Name => Ok(format!("{name}\n")),
            Self::Yaml => Ok(yaml::document(&without_managed_fields(object))),
            Self::Json => Ok(go_json::indented(&without_managed_fields(object))),
            Self::JsonPath(template) => template.render(object).map_err(|error| {
                let text = template.text();
                Failure::usage(format!(
                    "error executing jsonpath {text:?}: Error executing template: {error}"
                ))
            }),
            Self::Columns(columns) => {
                columns.render(std::slice::from_ref(object), true).map_err(Failure::usage)
            }
        }
    }
}

fn split(text: Option<&str>) -> (&str, &str) {
    let text = text.unwrap_or_default();
    text.split_once('=').unwrap_or((text, ""))
}

/// Several objects as the `List` that kubectl makes of them, keys sorted.
pub(crate) fn list_of(items: &[Value]) -> Value {
    let items: Vec<Value> = items.iter().map(key_order::sorted).collect();
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}})
}

/// The object (or each object of a list) without `metadata.managedFields`, which kubectl hides.
pub(crate) fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    strip(&mut object);
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        strip(item);
    }
    object
}

fn strip(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("managedFields");
    }
}
