//! Reads a message along its shape into the JSON that would have said the same.
//!
//! Go writes every field that is not a pointer, also when it is empty; the table of shapes tells which of these JSON leaves
//! out. Fields that the table does not know are skipped, as protobuf wants it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::ProtobufError;
use super::wire::{Field, Fields, Payload, text, varint};
use crate::decode::{assemble, quantity as canonical_quantity};
use crate::schema::{Member, Message, Shape};

/// Messages in messages; the deepest that clients send has a dozen.
const DEPTH_LIMIT: usize = 64;
/// Messages in one body: an empty one takes two bytes on the wire and hundreds in memory.
const MESSAGES_LIMIT: usize = 50_000;

/// Counts what has been read.
#[derive(Default)]
pub(super) struct Reader {
    depth: usize,
    messages: usize,
}

impl Reader {
    /// The fields of a message, in written form.
    pub(super) fn message(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
    ) -> Result<Map<String, Value>, ProtobufError> {
        let mut given = Map::new();
        self.fields(message, bytes, &mut given)?;
        Ok(assemble(message, &mut given))
    }

    fn fields(
        &mut self,
        message: &'static Message,
        bytes: &[u8],
        given: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        self.messages += 1;
        if self.messages > MESSAGES_LIMIT {
            return Err(ProtobufError::TooMany("messages"));
        }
        if self.depth >= DEPTH_LIMIT {
            return Err(ProtobufError::TooMany("nested messages"));
        }
        self.depth += 1;
        for field in Fields::new(bytes) {
            self.field(message, field?, given)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn field(
        &mut self,
        message: &'static Message,
        field: Field<'_>,
        given: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let member = message.members.iter().find(|member| match member {
            Member::Field(known) => known.number == field.number,
            Member::Inline(number, _) => *number == field.number,
        });
        match (member, field.payload) {
            (None, _) => Ok(()),
            (Some(Member::Inline(_, id)), Payload::Bytes(bytes)) => self.fields(id.message(), bytes, given),
            (Some(Member::Inline(_, id)), _) => Err(ProtobufError::WireType(id.message().name)),
            (Some(Member::Field(known)), payload) => match &known.shape {
                Shape::List(item) => {
                    let list = given.entry(known.name).or_insert_with(|| json!([]));
                    self.item(known.name, item, payload, list)
                }
                Shape::Map(item) => {
                    let map = given.entry(known.name).or_insert_with(|| json!({}));
                    self.entry(known.name, item, payload, map)
                }
                shape => {
                    if let Some(value) = self.value(known.name, shape, payload)? {
                        given.insert(known.name.to_owned(), value);
                    }
                    Ok(())
                }
            },
        }
    }

    /// One item of a list, or several numbers packed into one field.
    fn item(
        &mut self,
        name: &'static str,
        shape: &Shape,
        payload: Payload<'_>,
        list: &mut Value,
    ) -> Result<(), ProtobufError> {
        let Value::Array(items) = list else { return Ok(()) };
        match (shape, payload) {
            (Shape::Int32 | Shape::Int64 | Shape::Bool, Payload::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    let number = Payload::Varint(varint(&mut packed)?);
                    items.extend(self.value(name, shape, number)?);
                }
            }
            _ => items.extend(self.value(name, shape, payload)?),
        }
        Ok(())
    }

    /// One entry of a map: a message of key and value.
    fn entry(
        &mut self,
        name: &'static str,
        shape: &Shape,
        payload: Payload<'_>,
        map: &mut Value,
    ) -> Result<(), ProtobufError> {
        let (Value::Object(entries), Payload::Bytes(bytes)) = (map, payload) else {
            return Err(ProtobufError::WireType(name));
        };
        let (mut key, mut value) = (String::new(), None);
        for field in Fields::new(bytes) {
            match field? {
                Field { number: 1, payload: Payload::Bytes(bytes) } => key = text(bytes)?,
                Field { number: 2, payload } => value = self.value(name, shape, payload)?,
                _ => {}
            }
        }
        entries.insert(key, value.unwrap_or_else(|| json!("")));
        Ok(())
    }

    /// A single value; none for a time that is not set.
    fn value(
        &mut self,
        name: &'static str,
        shape: &Shape,
        payload: Payload<'_>,
    ) -> Result<Option<Value>, ProtobufError> {
        Ok(match (shape, payload) {
            (Shape::Bool, Payload::Varint(number)) => Some(json!(number != 0)),
            (Shape::Int32 | Shape::Int64, Payload::Varint(number)) => Some(json!(number.cast_signed())),
            (Shape::Text(_), Payload::Bytes(bytes)) => Some(json!(text(bytes)?)),
            (Shape::Bytes, Payload::Bytes(bytes)) => Some(json!(STANDARD.encode(bytes))),
            (Shape::Time, Payload::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%SZ")?,
            (Shape::MicroTime, Payload::Bytes(bytes)) => time(bytes, "%Y-%m-%dT%H:%M:%S.%6fZ")?,
            (Shape::Quantity, Payload::Bytes(bytes)) => Some(quantity(bytes)?),
            (Shape::IntOrString, Payload::Bytes(bytes)) => Some(int_or_string(bytes)?),
            (Shape::Raw, Payload::Bytes(bytes)) => raw(bytes)?,
            (Shape::Message(id), Payload::Bytes(bytes)) => {
                Some(Value::Object(self.message(id.message(), bytes)?))
            }
            (Shape::List(item), Payload::Bytes(bytes)) => Some(self.wrapped_list(name, item, bytes)?),
            _ => return Err(ProtobufError::WireType(name)),
        })
    }

    /// A list that is a map's value is wrapped into a message whose field 1 repeats.
    fn wrapped_list(
        &mut self,
        name: &'static str,
        item: &Shape,
        bytes: &[u8],
    ) -> Result<Value, ProtobufError> {
        let mut list = json!([]);
        for field in Fields::new(bytes) {
            let field = field?;
            if field.number == 1 {
                self.item(name, item, field.payload, &mut list)?;
            }
        }
        Ok(list)
    }
}

fn time(bytes: &[u8], format: &str) -> Result<Option<Value>, ProtobufError> {
    let (mut seconds, mut nanos, mut any) = (0, 0, false);
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 1, payload: Payload::Varint(number) } => {
                (seconds, any) = (number.cast_signed(), true)
            }
            Field { number: 2, payload: Payload::Varint(number) } => nanos = number.cast_signed(),
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Malformed("time"))?;
    let instant = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Malformed("time"))?;
    Ok(any.then(|| json!(instant.strftime(format).to_string())))
}

fn quantity(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut amount = "0".to_owned();
    for field in Fields::new(bytes) {
        if let Field { number: 1, payload: Payload::Bytes(bytes) } = field? {
            amount = canonical_quantity(&text(bytes)?).ok_or(ProtobufError::Malformed("quantity"))?;
        }
    }
    Ok(json!(amount))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_text, mut number, mut name) = (false, 0, String::new());
    for field in Fields::new(bytes) {
        match field? {
            Field { number: 1, payload: Payload::Varint(kind) } => is_text = kind == 1,
            Field { number: 2, payload: Payload::Varint(value) } => number = value.cast_signed(),
            Field { number: 3, payload: Payload::Bytes(bytes) } => name = text(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { json!(name) } else { json!(number) })
}

/// JSON in bytes.
fn raw(bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
    for field in Fields::new(bytes) {
        if let Field { number: 1, payload: Payload::Bytes(bytes) } = field? {
            return serde_json::from_slice(bytes)
                .map(Some)
                .map_err(|_| ProtobufError::Malformed("JSON in raw bytes"));
        }
    }
    Ok(None)
}
