//! Which fields an object is written with: kube-apiserver's (Go's) rules for empty values, from the table of shapes.
//!
//! Go writes some empty values (`status: {loadBalancer: {}}`, `resources: {}`) and leaves others out; people compare YAML, so we
//! write the same. One difference: where Go writes `null` for a list that is always written, we write `[]`, and no time.

use crate::schema::{Field, Member, Message, Presence, Shape};
use serde_json::{Map, Value, json};

/// Takes a message's fields out of `given` in the table's order, completed by what is always written. Fields that the message
/// does not have, and nulls, are dropped.
pub fn assemble(message: &'static Message, given: &mut Map<String, Value>) -> Map<String, Value> {
    let mut fields = Map::new();
    extend(message, given, &mut fields);
    fields
}

fn extend(message: &'static Message, given: &mut Map<String, Value>, fields: &mut Map<String, Value>) {
    for member in &message.members {
        match member {
            Member::Inline(_, id) => extend(id.message(), given, fields),
            Member::Field(field) => {
                let value = given.shift_remove(field.name).filter(|value| !value.is_null());
                if let Some(value) = written(field, value) {
                    fields.insert(field.name.to_owned(), value);
                }
            }
        }
    }
}

fn written(field: &Field, value: Option<Value>) -> Option<Value> {
    match (field.presence, value) {
        (Presence::Given, value) => value,
        (Presence::Always, value) => value.or_else(|| zero(&field.shape)),
        (Presence::NotZero | Presence::NotEmpty, value) => match &field.shape {
            Shape::Message(_) | Shape::Quantity => value.or_else(|| zero(&field.shape)),
            Shape::IntOrString => value,
            _ => value.filter(|value| !is_empty(value)),
        },
    }
}

/// The value that Go writes for a field that was never set; none for times.
pub(super) fn zero(shape: &Shape) -> Option<Value> {
    Some(match shape {
        Shape::Text(_) => json!(""),
        Shape::Bool => json!(false),
        Shape::Int32 | Shape::Int64 | Shape::IntOrString => json!(0),
        Shape::Quantity => json!("0"),
        Shape::List(_) => json!([]),
        Shape::Map(_) => json!({}),
        Shape::Message(id) => Value::Object(assemble(id.message(), &mut Map::new())),
        Shape::Bytes | Shape::Time | Shape::MicroTime | Shape::Raw => return None,
    })
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

/// Brings an object that was changed (defaulted, patched) into written form: order, empty values, no nulls. Fields that the
/// kind does not have are dropped; values are taken as they are.
pub fn canonicalize(message: &'static Message, object: &mut Value) {
    if let Value::Object(fields) = object {
        let typed: Vec<(&str, Value)> = ["kind", "apiVersion"]
            .into_iter()
            .filter(|_| message.typed)
            .filter_map(|name| fields.shift_remove(name).map(|value| (name, value)))
            .collect();
        canonicalize_fields(message, fields);
        let mut written = assemble(message, fields);
        if !typed.is_empty() {
            let rest = std::mem::take(&mut written);
            written.extend(typed.into_iter().map(|(name, value)| (name.to_owned(), value)));
            written.extend(rest);
        }
        *fields = written;
    }
}

fn canonicalize_fields(message: &'static Message, fields: &mut Map<String, Value>) {
    for (name, value) in fields.iter_mut() {
        if let Some(field) = message.field(name) {
            canonicalize_value(&field.shape, value);
        }
    }
}

fn canonicalize_value(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Message(id), value) => canonicalize(id.message(), value),
        (Shape::List(item), Value::Array(items)) => {
            items.iter_mut().for_each(|value| canonicalize_value(item, value));
        }
        (Shape::Map(item), Value::Object(entries)) => {
            entries.values_mut().for_each(|value| canonicalize_value(item, value));
        }
        _ => {}
    }
}
