//! One patch out of the deletions and the changes of a three-way merge.

use objects::schema::Message;
use serde_json::{Map, Value};

use super::three_way::member;

/// Lays `changes` over `deletions`.
pub(super) fn maps(
    shape: Option<&'static Message>,
    deletions: Map<String, Value>,
    changes: Map<String, Value>,
) -> Map<String, Value> {
    let order_of = |key: &str| {
        let order = format!("$setElementOrder/{key}");
        changes.get(&order).or_else(|| deletions.get(&order)).cloned()
    };
    let orders: Map<String, Value> =
        changes.keys().filter_map(|key| Some((key.clone(), order_of(key)?))).collect();
    let mut patch = deletions;
    for (key, new) in changes {
        let member = member(shape, &key);
        let merged = match (patch.shift_remove(&key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(maps(member.shape, old, new)),
            (Some(Value::Array(old)), Value::Array(new)) => match member
                .merge_key
                .filter(|key| !key.is_empty())
            {
                Some(merge_key) => {
                    let order = orders.get(&key).and_then(Value::as_array);
                    Value::Array(lists(member.shape, merge_key, old, new, order.map_or(&[], Vec::as_slice)))
                }
                None => Value::Array(new),
            },
            (_, new) => new,
        };
        patch.insert(key, merged);
    }
    patch
}

/// Elements of both lists, those with the same key as one, in the order that the patch sets (the server refuses any
/// other); deletions stand last.
fn lists(
    shape: Option<&'static Message>,
    merge_key: &str,
    deletions: Vec<Value>,
    changes: Vec<Value>,
    order: &[Value],
) -> Vec<Value> {
    let mut rest = deletions;
    let mut items = Vec::new();
    for change in changes {
        let same = rest.iter().position(|item| item[merge_key] == change[merge_key]);
        let merged = match (same.map(|at| rest.remove(at)), change) {
            (Some(Value::Object(old)), Value::Object(new)) => Value::Object(maps(shape, old, new)),
            (_, change) => change,
        };
        items.push(merged);
    }
    items.extend(rest);
    items.sort_by_key(|item| {
        let place = order.iter().position(|place| place[merge_key] == item[merge_key]);
        (item.get("$patch").is_some(), place.unwrap_or(order.len()))
    });
    items
}
