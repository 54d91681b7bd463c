//! Walks a JSON stream along a message's shape and notes what does not fit.
//!
//! One pass over the stream, because repeated fields cannot be seen in a `Value`. A type that does not fit does not stop the
//! walk; the first is reported, as Go does. Depth is limited by serde_json (128), size by the caller's limit on bodies.

use super::canonical::{assemble, zero};
use super::scalar;
use crate::schema::{Message, Shape};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;

/// Complaints about one message are limited, so that a hostile body cannot fill the log.
const STRICT_LIMIT: usize = 100;
/// Messages in one body: an empty one takes three bytes there and hundreds in memory.
const MESSAGES_LIMIT: usize = 50_000;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Unknown and repeated fields.
    pub(super) strict: Vec<String>,
    /// The first value of a wrong type.
    pub(super) mismatch: Option<String>,
    messages: usize,
    strict_path: Vec<String>,
    go_path: Vec<&'static str>,
    go_message: &'static str,
}

impl Findings {
    fn complain(&mut self, what: &str, field: &str) {
        if self.strict.len() < STRICT_LIMIT {
            let text = format!("{what} field \"{}{field}\"", self.prefix());
            self.strict.push(text);
        }
    }

    fn prefix(&self) -> String {
        let path = self.strict_path.concat();
        if path.is_empty() { path } else { format!("{path}.") }
    }

    fn mismatch(&mut self, given: &str, expected: &str) {
        let path = format!("{}.{}", self.go_message, self.go_path.join("."));
        self.fail(format!("json: cannot unmarshal {given} into Go struct field {path} of type {expected}"));
    }

    fn fail(&mut self, text: String) {
        self.mismatch.get_or_insert(text);
    }

    fn enter(&mut self, key: &str) {
        let dot = if self.strict_path.is_empty() { "" } else { "." };
        self.strict_path.push(format!("{dot}{key}"));
    }
}

/// The root of a walk.
pub(super) struct MessageSeed<'f> {
    message: &'static Message,
    findings: &'f mut Findings,
}

impl<'f> MessageSeed<'f> {
    pub(super) fn root(message: &'static Message, findings: &'f mut Findings) -> Self {
        findings.go_message = message.name;
        Self { message, findings }
    }
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(MessageVisitor { message: self.message, findings: self.findings })
    }
}

struct MessageVisitor<'f> {
    message: &'static Message,
    findings: &'f mut Findings,
}

impl<'de> Visitor<'de> for MessageVisitor<'_> {
    type Value = Option<Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object of {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Self::Value, A::Error> {
        read_message(self.message, self.findings, entries).map(Some)
    }
}

/// A value of any shape; `None` for null.
struct ShapeSeed<'f> {
    shape: &'f Shape,
    findings: &'f mut Findings,
}

impl<'de> DeserializeSeed<'de> for ShapeSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl ShapeSeed<'_> {
    fn wrong(self, given: &str) -> Option<Value> {
        match self.shape {
            Shape::Quantity => self.findings.fail(scalar::QUANTITY_SYNTAX.to_owned()),
            shape => self.findings.mismatch(given, &go_type(shape)),
        }
        None
    }

    fn number(self, number: Value, whole: Option<i64>) -> Option<Value> {
        let fits = match self.shape {
            Shape::Int32 | Shape::IntOrString => whole.is_some_and(|whole| i32::try_from(whole).is_ok()),
            Shape::Int64 => whole.is_some(),
            Shape::Raw => true,
            Shape::Quantity => return self.text(&number.to_string()),
            _ => return self.wrong("number"),
        };
        if fits { Some(number) } else { self.wrong(&format!("number {number}")) }
    }

    fn text(self, text: &str) -> Option<Value> {
        let parsed = match self.shape {
            Shape::Text(_) | Shape::IntOrString | Shape::Raw => Ok(text.to_owned()),
            Shape::Time => scalar::time(text),
            Shape::MicroTime => scalar::micro_time(text),
            Shape::Quantity => scalar::quantity(text).ok_or_else(|| scalar::QUANTITY_SYNTAX.to_owned()),
            Shape::Bytes => scalar::base64(text),
            _ => return self.wrong("string"),
        };
        match parsed {
            // A time that is not set is written as an empty text by some clients.
            Ok(text) if text.is_empty() && matches!(self.shape, Shape::Time | Shape::MicroTime) => None,
            Ok(text) => Some(Value::String(text)),
            Err(why) => {
                self.findings.fail(why);
                None
            }
        }
    }
}

impl<'de> Visitor<'de> for ShapeSeed<'_> {
    type Value = Option<Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Self::Value, E> {
        Ok(match self.shape {
            Shape::Bool | Shape::Raw => Some(Value::Bool(truth)),
            _ => self.wrong("bool"),
        })
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Self::Value, E> {
        Ok(self.number(Value::from(number), Some(number)))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Self::Value, E> {
        Ok(self.number(Value::from(number), i64::try_from(number).ok()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
        Ok(self.number(Value::from(number), None))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(self.text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        match self.shape {
            Shape::List(item) => read_list(item, self.findings, items).map(Some),
            Shape::Raw => {
                let mut all = Vec::new();
                while let Some(value) = items.next_element()? {
                    all.push(value);
                }
                Ok(Some(Value::Array(all)))
            }
            _ => {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(self.wrong("array"))
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        match self.shape {
            Shape::Message(id) => {
                let outer = std::mem::replace(&mut self.findings.go_message, id.message().name);
                let message = read_message(id.message(), self.findings, entries);
                self.findings.go_message = outer;
                message.map(Some)
            }
            Shape::Map(item) => read_map(item, self.findings, entries).map(Some),
            Shape::Raw => Map::deserialize(serde::de::value::MapAccessDeserializer::new(entries))
                .map(|map| Some(map.into())),
            _ => {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(self.wrong("object"))
            }
        }
    }
}

fn read_message<'de, A: MapAccess<'de>>(
    message: &'static Message,
    findings: &mut Findings,
    mut entries: A,
) -> Result<Value, A::Error> {
    findings.messages += 1;
    if findings.messages > MESSAGES_LIMIT {
        return Err(A::Error::custom(format!("more than {MESSAGES_LIMIT} objects in one body")));
    }
    let mut given = Map::new();
    let mut seen: HashSet<String> = HashSet::new();
    while let Some(name) = entries.next_key::<String>()? {
        let type_meta = message.typed && (name == "kind" || name == "apiVersion");
        let text = Shape::Text(None);
        let (key, shape) = match message.field(&name) {
            Some(field) => (field.name, &field.shape),
            None if type_meta => ("", &text),
            None => {
                findings.complain("unknown", &name);
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
        };
        if !seen.insert(name.clone()) {
            findings.complain("duplicate", &name);
        }
        findings.enter(&name);
        findings.go_path.push(key);
        let value = entries.next_value_seed(ShapeSeed { shape, findings })?;
        findings.go_path.pop();
        findings.strict_path.pop();
        if let Some(value) = value {
            given.insert(name, value);
        }
    }
    Ok(Value::Object(assemble(message, &mut given)))
}

fn read_map<'de, A: MapAccess<'de>>(
    item: &Shape,
    findings: &mut Findings,
    mut entries: A,
) -> Result<Value, A::Error> {
    let mut map = Map::new();
    while let Some(key) = entries.next_key::<String>()? {
        if map.contains_key(&key) {
            findings.complain("duplicate", &key);
        }
        findings.enter(&key);
        let value = entries.next_value_seed(ShapeSeed { shape: item, findings })?;
        findings.strict_path.pop();
        if let Some(value) = value.or_else(|| zero(item)) {
            map.insert(key, value);
        }
    }
    // Go writes the keys of a map in order.
    map.sort_keys();
    Ok(Value::Object(map))
}

struct ItemSeed<'f> {
    shape: &'f Shape,
    findings: &'f mut Findings,
}

impl<'de> DeserializeSeed<'de> for ItemSeed<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        ShapeSeed { shape: self.shape, findings: self.findings }.deserialize(source)
    }
}

fn read_list<'de, A: SeqAccess<'de>>(
    item: &Shape,
    findings: &mut Findings,
    mut items: A,
) -> Result<Value, A::Error> {
    let mut list = Vec::new();
    loop {
        findings.strict_path.push(format!("[{}]", list.len()));
        let next = items.next_element_seed(ItemSeed { shape: item, findings });
        findings.strict_path.pop();
        match next? {
            None => return Ok(Value::Array(list)),
            Some(value) => list.extend(value.or_else(|| zero(item))),
        }
    }
}

/// How Go calls a shape's type in error texts.
fn go_type(shape: &Shape) -> String {
    match shape {
        Shape::Text(name) => name.unwrap_or("string").to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Int32 | Shape::IntOrString => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Time | Shape::MicroTime => "string".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Raw => "runtime.RawExtension".to_owned(),
        Shape::List(item) => format!("[]{}", go_type(item)),
        Shape::Map(item) => format!("map[string]{}", go_type(item)),
        Shape::Message(id) => format!("v1.{}", id.message().name),
    }
}
