//! Lists: replaced, merged as sets, or merged item by item along a key; and the order that comes out.

use serde_json::{Map, Value};

use super::{DELETE_FROM, MergeError, PATCH, SET_ORDER, merge, message_of, unexpected};
use crate::schema::Message;

/// How the items of a list are told apart: by the value of a key, or (sets) by themselves.
#[derive(Clone, Copy)]
enum Identity {
    Key(&'static str),
    Value,
}

impl Identity {
    fn of(self, item: &Value) -> &Value {
        match self {
            Self::Key(key) => &item[key],
            Self::Value => item,
        }
    }

    fn same(self, a: &Value, b: &Value) -> bool {
        self.of(a) == self.of(b)
    }

    fn position(self, list: &[Value], item: &Value) -> Option<usize> {
        list.iter().position(|other| self.same(other, item))
    }
}

/// Merges `items` (what `patch` has under `name`) and the list's directives into the list `name` of `fields`.
pub(super) fn merge_into(
    fields: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    name: &str,
    items: &[Value],
    message: Option<&'static Message>,
) -> Result<(), MergeError> {
    let field = message.and_then(|m| m.field(name));
    let identity = match field.and_then(|field| field.merge_key) {
        None => return replace(fields, name, items),
        Some("") => Identity::Value,
        Some(key) => Identity::Key(key),
    };
    let original = fields.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut merged = original.clone();
    let inner = field.and_then(|field| message_of(&field.shape));
    match identity {
        Identity::Value => merge_set(&mut merged, items),
        Identity::Key(key) => merge_keyed(&mut merged, items, key, inner)?,
    }
    if let Some(gone) = directive(patch, DELETE_FROM, name)? {
        merged.retain(|item| !gone.contains(item));
    }
    let order = directive(patch, SET_ORDER, name)?.unwrap_or(items);
    fields.insert(name.to_owned(), Value::Array(ordered(merged, order, &original, identity)));
    Ok(())
}

/// An atomic list; what the patch has for it may still carry directives inside.
fn replace(fields: &mut Map<String, Value>, name: &str, items: &[Value]) -> Result<(), MergeError> {
    let mut fresh = Vec::with_capacity(items.len());
    for item in items.iter().filter(|item| item.get(PATCH).is_none()) {
        let mut value = Value::Null;
        merge(&mut value, item, None)?;
        fresh.push(value);
    }
    fields.insert(name.to_owned(), Value::Array(fresh));
    Ok(())
}

fn directive<'p>(
    patch: &'p Map<String, Value>,
    prefix: &str,
    name: &str,
) -> Result<Option<&'p [Value]>, MergeError> {
    let directive = format!("{prefix}{name}");
    match patch.get(&directive) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(other) => Err(unexpected(&directive, other)),
    }
}

fn merge_set(merged: &mut Vec<Value>, items: &[Value]) {
    for item in items {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
}

fn merge_keyed(
    merged: &mut Vec<Value>,
    items: &[Value],
    key: &'static str,
    inner: Option<&'static Message>,
) -> Result<(), MergeError> {
    if items.iter().any(|item| item[PATCH] == "replace") {
        merged.clear();
    }
    let identity = Identity::Key(key);
    for item in items {
        if !item.is_object() {
            return Err(MergeError::NotAnObject { item: item.to_string() });
        }
        match item.get(PATCH).map(|v| (v, v.as_str())) {
            // Stands for the list, not for an item.
            Some((_, Some("replace"))) if item.get(key).is_none() => continue,
            Some((_, Some("replace" | "delete" | "merge"))) | None => {}
            Some((value, _)) => return Err(unexpected(PATCH, value)),
        }
        if item.get(key).is_none() {
            return Err(MergeError::NoKey { item: item.to_string(), key });
        }
        if item[PATCH] == "delete" {
            merged.retain(|other| !identity.same(other, item));
            continue;
        }
        match identity.position(merged, item) {
            Some(at) => merge(&mut merged[at], item, inner)?,
            None => {
                let mut fresh = Value::Null;
                merge(&mut fresh, item, inner)?;
                merged.push(fresh);
            }
        }
    }
    Ok(())
}

/// The items that the patch names in the patch's order, the others in the order that they had, the two interleaved so that
/// the others stay where they were as far as that is possible (upstream's `normalizeElementOrder`).
fn ordered(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    identity: Identity,
) -> Vec<Value> {
    let (mut named, mut others): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| in_order(patch_order, item, identity).is_some());
    named.sort_by_key(|item| in_order(patch_order, item, identity));
    others.sort_by_key(|item| identity.position(server_order, item));
    let before = |other: &Value, named: &Value| {
        let places = (identity.position(server_order, other), identity.position(server_order, named));
        matches!(places, (Some(other), Some(named)) if other < named)
    };
    let mut result = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        let take_other = match (others.peek(), named.peek()) {
            (Some(other), Some(named)) => before(other, named),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (None, None) => return result,
        };
        result.extend(if take_other { others.next() } else { named.next() });
    }
}

/// The order of a keyed list names its items by objects that hold only the key, or whole items.
fn in_order(order: &[Value], item: &Value, identity: Identity) -> Option<usize> {
    identity.position(order, item)
}
