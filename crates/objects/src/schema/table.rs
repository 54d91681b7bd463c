//! Reads the table of shapes. It is part of the program, so an error in it is a defect and ends the first test.

use super::{Field, Member, Message, MessageId, Presence, Shape, Table};
use std::collections::HashMap;

pub(super) fn parse(text: &'static str) -> Table {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| line.split_once(':').expect("invariant: each message has a colon"))
        .collect();
    let by_name: HashMap<&'static str, MessageId> = lines
        .iter()
        .enumerate()
        .map(|(at, (name, _))| (name.trim_start_matches('@'), MessageId(at)))
        .collect();
    let messages = lines.iter().map(|(name, members)| message(name, members, &by_name)).collect();
    Table { messages, by_name }
}

fn message(name: &'static str, members: &'static str, ids: &HashMap<&'static str, MessageId>) -> Message {
    let qualified = name.trim_start_matches('@');
    Message {
        name: qualified.rsplit('.').next().unwrap_or(qualified),
        typed: name.starts_with('@'),
        members: members.split_whitespace().map(|part| member(part, ids)).collect(),
    }
}

fn member(part: &'static str, ids: &HashMap<&'static str, MessageId>) -> Member {
    if let Some(inline) = part.strip_prefix('+') {
        let (at, name) = inline.split_once(':').expect("invariant: +number:MESSAGE");
        return Member::Inline(number(at), ids[name]);
    }
    let (head, tail) = part.split_once('=').expect("invariant: name=number:TYPE");
    let (at, shape_text) = tail.split_once(':').expect("invariant: number:TYPE");
    let name = head.trim_end_matches(['?', '!', '*']);
    let (shape_text, retain_keys) = match shape_text.strip_suffix('^') {
        Some(rest) => (rest, true),
        None => (shape_text, false),
    };
    let (shape_text, merge_key) = match shape_text.split_once('~') {
        Some((shape, key)) => (shape, Some(key)),
        None => (shape_text, None),
    };
    let presence = presence(&head[name.len()..]);
    Member::Field(Field {
        name,
        number: number(at),
        shape: shape(shape_text, ids),
        presence,
        merge_key,
        retain_keys,
    })
}

fn number(text: &str) -> u32 {
    text.parse().expect("invariant: protobuf numbers are decimal")
}

fn presence(mark: &str) -> Presence {
    match mark {
        "?" => Presence::NotEmpty,
        "!" => Presence::NotZero,
        "*" => Presence::Given,
        _ => Presence::Always,
    }
}

fn shape(text: &'static str, ids: &HashMap<&'static str, MessageId>) -> Shape {
    if let Some(item) = text.strip_prefix("[]") {
        return Shape::List(Box::new(shape(item, ids)));
    }
    if let Some(item) = text.strip_prefix("{}") {
        return Shape::Map(Box::new(shape(item, ids)));
    }
    match text {
        "string" => Shape::Text(None),
        "bool" => Shape::Bool,
        "int32" => Shape::Int32,
        "int64" => Shape::Int64,
        "bytes" => Shape::Bytes,
        "Time" => Shape::Time,
        "MicroTime" => Shape::MicroTime,
        "Quantity" => Shape::Quantity,
        "IntOrString" => Shape::IntOrString,
        "FieldsV1" | "RawExtension" => Shape::Raw,
        _ => match text.strip_prefix("string/") {
            Some(go_name) => Shape::Text(Some(go_name)),
            None => Shape::Message(ids[text]),
        },
    }
}
