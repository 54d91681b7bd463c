//! The patch of client-side apply: from what was applied last, what is wanted now, and what is there.
//!
//! Deletions come from the last applied object against the wanted one, everything else from the live object against the
//! wanted one, so fields that others set stay. Lists with a merge key are compared by key (Kubernetes' strategic merge
//! patch, with its `$` directives); where the kind's shape is unknown the result is a plain JSON merge patch. Pure.

use objects::schema::{self, Message, Shape};
use serde_json::{Map, Value, json};

use super::combine;

/// Which half of the difference is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    /// What was added or changed.
    Changes,
    /// What was removed.
    Deletions,
}

type Shaped = Option<&'static Message>;

/// The patch that brings `current` to `wanted`; empty if there is nothing to do.
pub(crate) fn patch(kind: Shaped, last: &Value, wanted: &Value, current: &Value) -> Value {
    let changes = maps(kind, current, wanted, Half::Changes, false);
    let deletions = maps(kind, last, wanted, Half::Deletions, false);
    Value::Object(combine::maps(kind, deletions, changes))
}

/// The shape of a kind, if it is one of the known ones.
pub(crate) fn shape_of(api_version: &str, kind: &str) -> Shaped {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    schema::of_kind(group, kind)
}

fn maps(shape: Shaped, before: &Value, after: &Value, half: Half, retain: bool) -> Map<String, Value> {
    let empty = Map::new();
    let before = before.as_object().unwrap_or(&empty);
    let after = after.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for (key, new) in after {
        match before.get(key) {
            None if half == Half::Changes => {
                patch.insert(key.clone(), new.clone());
            }
            None => {}
            Some(old) => value(shape, key, old, new, half, &mut patch),
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    if half == Half::Deletions {
        patch.extend(gone.map(|key| (key.clone(), Value::Null)));
        return with_retained_keys(patch, before, after, retain);
    }
    with_retained_keys(patch, before, after, retain)
}

/// `$retainKeys` names all keys that shall remain, where the shape says that a patch does so (`strategy`, volumes).
fn with_retained_keys(
    mut patch: Map<String, Value>,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    retain: bool,
) -> Map<String, Value> {
    let mut keys: Vec<&String> =
        after.iter().filter(|(_, value)| !value.is_null()).map(|(key, _)| key).collect();
    let extra = before.keys().any(|key| !after.contains_key(key));
    if retain && !keys.is_empty() && (!patch.is_empty() || extra) {
        keys.sort();
        patch.insert("$retainKeys".to_owned(), json!(keys));
    }
    patch
}

fn value(shape: Shaped, key: &str, old: &Value, new: &Value, half: Half, patch: &mut Map<String, Value>) {
    let member = member(shape, key);
    match (old, new) {
        (Value::Object(_), Value::Object(_)) => {
            let inner = maps(member.shape, old, new, half, member.retain);
            if !inner.is_empty() {
                patch.insert(key.to_owned(), Value::Object(inner));
            }
        }
        (Value::Array(old), Value::Array(new)) if member.merge_key.is_some() => {
            lists(&member, key, old, new, half, patch);
        }
        _ if half == Half::Changes && old != new => {
            patch.insert(key.to_owned(), new.clone());
        }
        _ => {}
    }
}

fn lists(
    member: &MemberShape,
    key: &str,
    old: &[Value],
    new: &[Value],
    half: Half,
    patch: &mut Map<String, Value>,
) {
    if old.is_empty() {
        if !new.is_empty() && half == Half::Changes {
            patch.insert(key.to_owned(), Value::Array(new.to_vec()));
        }
        return;
    }
    match member.merge_key {
        Some("") | None => sets(key, old, new, half, patch),
        Some(merge_key) => lists_of_maps(member, merge_key, key, old, new, half, patch),
    }
}

fn sets(key: &str, old: &[Value], new: &[Value], half: Half, patch: &mut Map<String, Value>) {
    let added: Vec<&Value> = new.iter().filter(|item| !old.contains(item)).collect();
    let mut removed: Vec<&Value> = old.iter().filter(|item| !new.contains(item)).collect();
    removed.sort_by_key(|item| item.to_string());
    let (touched, name, items) = match half {
        Half::Changes => (old != new, key.to_owned(), added),
        Half::Deletions => (!removed.is_empty(), format!("$deleteFromPrimitiveList/{key}"), removed),
    };
    if !items.is_empty() {
        patch.insert(name, json!(items));
    }
    if touched {
        patch.insert(format!("$setElementOrder/{key}"), json!(new));
    }
}

fn lists_of_maps(
    member: &MemberShape,
    merge_key: &str,
    key: &str,
    old: &[Value],
    new: &[Value],
    half: Half,
    patch: &mut Map<String, Value>,
) {
    let mut items = Vec::new();
    for item in new {
        match old.iter().find(|other| other[merge_key] == item[merge_key]) {
            Some(other) => {
                let mut inner = maps(member.shape, other, item, half, member.retain);
                if !inner.is_empty() {
                    inner.insert(merge_key.to_owned(), item[merge_key].clone());
                    items.push(Value::Object(inner));
                }
            }
            None if half == Half::Changes => items.push(item.clone()),
            None => {}
        }
    }
    if half == Half::Deletions {
        let mut gone: Vec<&Value> =
            old.iter().filter(|item| new.iter().all(|other| other[merge_key] != item[merge_key])).collect();
        gone.sort_by_key(|item| item[merge_key].to_string());
        items.extend(gone.into_iter().map(|item| json!({"$patch": "delete", merge_key: item[merge_key]})));
    }
    let keys = |list: &[Value]| list.iter().map(|item| item[merge_key].clone()).collect::<Vec<_>>();
    if !items.is_empty() || half == Half::Changes && keys(old) != keys(new) {
        let order: Vec<Value> = new.iter().map(|item| json!({merge_key: item[merge_key]})).collect();
        if !order.is_empty() {
            patch.insert(format!("$setElementOrder/{key}"), Value::Array(order));
        }
    }
    if !items.is_empty() {
        patch.insert(key.to_owned(), Value::Array(items));
    }
}

/// What is known of a member of a message.
#[derive(Default)]
pub(super) struct MemberShape {
    /// Shape of the member, or of its elements.
    pub(super) shape: Shaped,
    /// Key by which elements are matched; empty for sets.
    pub(super) merge_key: Option<&'static str>,
    retain: bool,
}

/// What the shape says of a member.
pub(super) fn member(shape: Shaped, key: &str) -> MemberShape {
    let Some(field) = shape.and_then(|message| message.field(key)) else { return MemberShape::default() };
    let mut inner = &field.shape;
    while let Shape::List(element) | Shape::Map(element) = inner {
        inner = element;
    }
    let shape = match inner {
        Shape::Message(id) => Some(id.message()),
        _ => None,
    };
    MemberShape { shape, merge_key: field.merge_key, retain: field.retain_keys }
}

#[cfg(test)]
#[path = "three_way_tests.rs"]
mod tests;
