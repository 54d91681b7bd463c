//! JSON as Go's `encoding/json` writes it: compact, or indented by four blanks as `kubectl -o json` does.
//!
//! Go escapes `<`, `>`, `&` and the line separators U+2028/2029 in strings. Key order is the caller's business.

use serde_json::{Number, Value};

/// `json.Marshal`.
pub(crate) fn compact(value: &Value) -> String {
    let mut text = String::new();
    write(value, None, &mut text);
    text
}

/// `json.MarshalIndent` with four blanks, ending with a newline as kubectl's printer does.
pub(crate) fn indented(value: &Value) -> String {
    let mut text = String::new();
    write(value, Some(0), &mut text);
    text.push('\n');
    text
}

/// A number as Go prints it from JSON: integers as they are, floats in their shortest form.
pub(crate) fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
        _ => number.to_string(),
    }
}

fn write(value: &Value, depth: Option<usize>, text: &mut String) {
    match value {
        Value::Object(map) if map.is_empty() => text.push_str("{}"),
        Value::Array(items) if items.is_empty() => text.push_str("[]"),
        Value::Object(map) => {
            text.push('{');
            for (position, (key, item)) in map.iter().enumerate() {
                next_item(position, depth, text);
                string(key, text);
                text.push_str(if depth.is_some() { ": " } else { ":" });
                write(item, depth.map(|depth| depth + 1), text);
            }
            close(depth, '}', text);
        }
        Value::Array(items) => {
            text.push('[');
            for (position, item) in items.iter().enumerate() {
                next_item(position, depth, text);
                write(item, depth.map(|depth| depth + 1), text);
            }
            close(depth, ']', text);
        }
        Value::String(content) => string(content, text),
        Value::Number(digits) => text.push_str(&number(digits)),
        other => text.push_str(&other.to_string()),
    }
}

fn next_item(position: usize, depth: Option<usize>, text: &mut String) {
    if position > 0 {
        text.push(',');
    }
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', 4 * (depth + 1)));
    }
}

fn close(depth: Option<usize>, bracket: char, text: &mut String) {
    if let Some(depth) = depth {
        text.push('\n');
        text.extend(std::iter::repeat_n(' ', 4 * depth));
    }
    text.push(bracket);
}

fn string(content: &str, text: &mut String) {
    text.push('"');
    for character in content.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_written_as_go_writes_it() {
        let value = json!({"b": [1, "<&>", {}], "a": null, "f": 1.5, "w": 3.0});
        assert_eq!(compact(&value), r#"{"b":[1,"\u003c\u0026\u003e",{}],"a":null,"f":1.5,"w":3}"#);
        assert_eq!(indented(&json!({"a": [1]})), "{\n    \"a\": [\n        1\n    ]\n}\n");
    }
}
