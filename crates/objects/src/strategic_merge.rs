//! Strategic merge patches: JSON merge patches that know which lists are keyed and merge those item by item.
//!
//! Follows `apimachinery/pkg/util/strategicpatch`; keys come from the table of [`crate::schema`]. Directives: `$patch:
//! replace|delete|merge`, `$retainKeys`, `$setElementOrder/LIST`, `$deleteFromPrimitiveList/LIST`, and null deletes. Lists
//! without a key are replaced. It patches JSON only: whether the result is an object of its kind is for the decoder.

mod list;

use serde_json::{Map, Value};

use crate::schema::{self, Message, Shape};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// A patch that cannot be carried out; the text is the API's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// A directive has a value that it cannot have.
    #[error("Unexpected value for directive {directive}: {value}")]
    Directive {
        /// Its name.
        directive: String,
        /// What the patch has there.
        value: String,
    },
    /// An item of a keyed list has no key.
    #[error("map: {item} does not contain declared merge key: {key}")]
    NoKey {
        /// The item.
        item: String,
        /// The key.
        key: &'static str,
    },
    /// A list that merges by key holds something else than objects.
    #[error("expected a list of objects, found {item}")]
    NotAnObject {
        /// The item.
        item: String,
    },
}

/// Patches an object of the kind in `group`.
///
/// # Errors
/// If a directive or an item of a keyed list is malformed; `object` may then be half patched.
pub fn apply(group: &str, kind: &str, object: &mut Value, patch: &Value) -> Result<(), MergeError> {
    merge(object, patch, schema::of_kind(group, kind))
}

/// Merges `patch` into `target`, which becomes an object if it is none.
fn merge(target: &mut Value, patch: &Value, message: Option<&'static Message>) -> Result<(), MergeError> {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return Ok(());
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return Ok(()) };
    match patch.get(PATCH).map(|v| (v, v.as_str())) {
        None | Some((_, Some("merge"))) => {}
        Some((_, Some("replace"))) => fields.clear(),
        Some((_, Some("delete"))) => {
            fields.clear();
            return Ok(());
        }
        Some((value, _)) => return Err(unexpected(PATCH, value)),
    }
    retain(fields, patch)?;
    for (name, value) in patch {
        merge_field(fields, patch, name, value, message)?;
    }
    Ok(())
}

fn unexpected(directive: &str, value: &Value) -> MergeError {
    MergeError::Directive { directive: directive.to_owned(), value: value.to_string() }
}

/// `$retainKeys`: what it does not name goes, which makes a union's new member drive out the old one.
fn retain(fields: &mut Map<String, Value>, patch: &Map<String, Value>) -> Result<(), MergeError> {
    let Some(keys) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or_else(|| unexpected(RETAIN_KEYS, keys))?;
    fields.retain(|name, _| keys.iter().any(|key| key.as_str() == Some(name)));
    Ok(())
}

fn merge_field(
    fields: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    name: &str,
    value: &Value,
    message: Option<&'static Message>,
) -> Result<(), MergeError> {
    if name == PATCH || name == RETAIN_KEYS {
        return Ok(());
    }
    // A list that is only reordered or only loses items has no entry of its own in the patch.
    let listed = name.strip_prefix(SET_ORDER).or_else(|| name.strip_prefix(DELETE_FROM));
    if let Some(listed) = listed {
        if !patch.contains_key(listed) && fields.get(listed).is_some_and(Value::is_array) {
            list::merge_into(fields, patch, listed, &[], message)?;
        }
        return Ok(());
    }
    match value {
        Value::Null => drop(fields.shift_remove(name)),
        Value::Array(items) => list::merge_into(fields, patch, name, items, message)?,
        Value::Object(_) => {
            let inner = message.and_then(|m| m.field(name)).and_then(|field| message_of(&field.shape));
            merge(fields.entry(name.to_owned()).or_insert(Value::Null), value, inner)?;
        }
        other => drop(fields.insert(name.to_owned(), other.clone())),
    }
    Ok(())
}

fn message_of(shape: &Shape) -> Option<&'static Message> {
    match shape {
        Shape::Message(id) => Some(id.message()),
        Shape::List(item) | Shape::Map(item) => message_of(item),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
