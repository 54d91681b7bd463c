//! Reads manifests: files of YAML documents or JSON objects, as users write them for `apply -f`.
//!
//! Documents that are empty are skipped, `List` kinds are taken apart, and a mistake is reported with its line and column. A
//! repeated key is a mistake, in YAML and in JSON. Whether the objects make sense is for [`crate::decode`] and the server.
//! Anchors are expanded within the parser's limits, so a small file cannot become a huge one.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt;

/// Lists in lists are followed this deep.
const LIST_DEPTH: usize = 8;

/// A mistake in a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} column {column}: {message}")]
pub struct ManifestError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// The objects of a file, in its order.
///
/// # Errors
/// The file is neither YAML nor JSON, repeats a key, or holds something that is not an object.
pub fn parse(text: &str) -> Result<Vec<Value>, ManifestError> {
    let documents = if text.trim_start().starts_with('{') { json(text)? } else { yaml(text)? };
    let mut objects = Vec::new();
    for document in documents.into_iter().filter(|document| !document.is_null()) {
        flatten(document, &mut objects, LIST_DEPTH)?;
    }
    Ok(objects)
}

fn flatten(document: Value, objects: &mut Vec<Value>, depth: usize) -> Result<(), ManifestError> {
    let Value::Object(mut fields) = document else {
        return Err(ManifestError { line: 1, column: 1, message: "a document is not an object".to_owned() });
    };
    let is_list = fields.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match fields.get_mut("items") {
        Some(Value::Array(items)) if is_list && depth > 0 => {
            let items = std::mem::take(items);
            items.into_iter().try_for_each(|item| flatten(item, objects, depth - 1))
        }
        _ => {
            objects.push(Value::Object(fields));
            Ok(())
        }
    }
}

fn yaml(text: &str) -> Result<Vec<Value>, ManifestError> {
    // `defaultMode: 0644` is octal to kubectl, whose YAML is 1.1.
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
        let plain = error.without_snippet();
        let place = plain.location().map(|place| (place.line(), place.column()));
        let (line, column) = place.unwrap_or((1, 1));
        let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let full = plain.to_string();
        let first = full.lines().next().unwrap_or_default();
        let message = first.split(" at line ").next().unwrap_or(first);
        // What the parser's own callers could set is no help to whoever wrote the file.
        let message = message.split(", set DuplicateKeyPolicy").next().unwrap_or(message).to_owned();
        ManifestError { line: number(line), column: number(column), message }
    })
}

fn json(text: &str) -> Result<Vec<Value>, ManifestError> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text);
    let place = |error: serde_json::Error| {
        let full = error.to_string();
        let message = full.rsplit_once(" at line ").map_or(full.as_str(), |(message, _)| message).to_owned();
        ManifestError { line: error.line(), column: error.column().max(1), message }
    };
    while let Err(rest) = stream.end() {
        if rest.is_eof() {
            return Err(place(rest));
        }
        documents.push(Unique.deserialize(&mut stream).map_err(place)?);
    }
    Ok(documents)
}

/// Any JSON, each key of an object once.
struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format!("duplicate key \"{key}\"")));
            }
            let value = entries.next_value_seed(Self)?;
            map.insert(key, value);
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests;
