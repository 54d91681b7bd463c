//! YAML in kubectl's layout: go-yaml v2 with sorted keys, lists at the indentation of their key, folded at 80 columns.
//!
//! Byte-exact with `kubectl -o yaml` for everything JSON can hold; the scalar rules are in `yaml_scalar`. Emits only.

use serde_json::Value;

use super::{key_order, yaml_scalar};

/// go-yaml refuses longer keys in the `key: value` form (libyaml's limit of a simple key).
const SIMPLE_KEY_BYTES_MAX: usize = 128;

/// One document, ending with a newline.
pub(crate) fn document(value: &Value) -> String {
    let mut emitter = Emitter { text: String::new() };
    match value {
        Value::Object(map) if !map.is_empty() => emitter.mapping(value, 0, true),
        Value::Array(items) if !items.is_empty() => emitter.sequence(items, 0, true),
        scalar => {
            emitter.scalar(scalar, 2);
            emitter.text.push('\n');
        }
    }
    emitter.text
}

struct Emitter {
    text: String,
}

impl Emitter {
    /// A block mapping; `inline` when its first key stands on the current line (document start, after `- `).
    fn mapping(&mut self, value: &Value, indent: usize, inline: bool) {
        let Value::Object(map) = value else { return };
        let mut keys: Vec<&String> = map.keys().collect();
        key_order::sort_naturally(&mut keys);
        for (position, key) in keys.into_iter().enumerate() {
            if position > 0 || !inline {
                self.indent(indent);
            }
            if key.len() > SIMPLE_KEY_BYTES_MAX || key.contains('\n') {
                self.text.push_str("? ");
                self.string(key, indent + 2, false);
                self.text.push('\n');
                self.indent(indent);
            } else {
                self.string(key, indent + 2, true);
            }
            self.text.push(':');
            self.value(&map[key], indent);
        }
    }

    /// What follows `key:`.
    fn value(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                self.text.push('\n');
                self.mapping(value, indent + 2, false);
            }
            Value::Array(items) if !items.is_empty() => {
                self.text.push('\n');
                self.sequence(items, indent, false);
            }
            scalar => {
                self.text.push(' ');
                self.scalar(scalar, indent + 2);
                self.text.push('\n');
            }
        }
    }

    fn sequence(&mut self, items: &[Value], indent: usize, inline: bool) {
        for (position, item) in items.iter().enumerate() {
            if position > 0 || !inline {
                self.indent(indent);
            }
            self.text.push_str("- ");
            match item {
                Value::Object(map) if !map.is_empty() => self.mapping(item, indent + 2, true),
                Value::Array(inner) if !inner.is_empty() => self.sequence(inner, indent + 2, true),
                scalar => {
                    self.scalar(scalar, indent + 2);
                    self.text.push('\n');
                }
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.text.push_str("null"),
            Value::Bool(flag) => self.text.push_str(if *flag { "true" } else { "false" }),
            Value::Number(number) => self.text.push_str(&super::go_json::number(number)),
            Value::String(text) => self.string(text, indent, false),
            Value::Array(_) => self.text.push_str("[]"),
            Value::Object(_) => self.text.push_str("{}"),
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        let column = self.text.len() - self.text.rfind('\n').map_or(0, |at| at + 1);
        self.text.push_str(&yaml_scalar::render(text, indent, column, key));
    }

    fn indent(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

#[cfg(test)]
mod tests;
