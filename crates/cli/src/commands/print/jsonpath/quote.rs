//! Quoted text and literals of templates.

use serde_json::Value;

/// Where a quoted text ends that began before `text`.
pub(super) fn quoted_end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            other if other == quote => return Some(at),
            _ => {}
        }
    }
    None
}

/// Text with its escapes resolved.
pub(super) fn unquote(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            (other, false) => out.push(other),
        }
    }
    out
}

/// What stands between quotes, if all of the text is quoted.
pub(super) fn quoted(text: &str) -> Option<&str> {
    let inner = |quote: char| text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inner('\'').or_else(|| inner('"'))
}

/// Splits at a character outside of quotes.
pub(super) fn split_outside_quotes(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut quote = None;
    let mut from = 0;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, other) if other == separator => {
                parts.push(&text[from..at]);
                from = at + separator.len_utf8();
            }
            (None, _) => {}
        }
    }
    parts.push(&text[from..]);
    parts
}

/// A literal of a filter: quoted text, number or bool.
pub(super) fn literal(text: &str) -> Option<Value> {
    if let Some(inner) = quoted(text) {
        return Some(Value::String(unquote(inner)));
    }
    match text {
        "true" => Some(true.into()),
        "false" => Some(false.into()),
        _ => text.parse::<i64>().map(Into::into).ok().or_else(|| text.parse::<f64>().ok().map(Into::into)),
    }
}
