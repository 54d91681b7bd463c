//! What several kinds share: labels, annotations, tolerations, times.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

/// Annotations longer than this are cut (kubectl's number).
const ANNOTATION_BYTES_MAX: usize = 140;

/// The text of a string, empty for anything else.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The elements of a list, none for anything else.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The pairs of a map in the order of their keys.
pub(super) fn pairs(value: &Value) -> Vec<(&str, &Value)> {
    let mut pairs: Vec<(&str, &Value)> =
        value.as_object().into_iter().flatten().map(|(key, item)| (key.as_str(), item)).collect();
    pairs.sort_by_key(|(key, _)| *key);
    pairs
}

/// A scalar as text: numbers and bools as they are written.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// `<none>` for empty text.
pub(super) fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// A title and one line for each entry.
pub(super) fn multiline(out: &mut String, title: &str, entries: &[String]) {
    let shown = if entries.is_empty() { "<none>".to_owned() } else { entries.join("\n\t") };
    let _ = writeln!(out, "{title}:\t{shown}");
}

/// Labels, or anything that is a map of text, one per line.
pub(super) fn labels(out: &mut String, title: &str, labels: &Value) {
    let entries: Vec<String> =
        pairs(labels).into_iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    multiline(out, title, &entries);
}

/// Labels on one line, `a=b,c=d`.
pub(super) fn selector(labels: &Value) -> String {
    let entries: Vec<String> =
        pairs(labels).into_iter().map(|(key, value)| format!("{key}={}", text(value))).collect();
    or_none(&entries.join(",")).to_owned()
}

/// Annotations; long ones below their key, cut.
pub(super) fn annotations(out: &mut String, title: &str, annotations: &Value) {
    let hidden = "kubectl.kubernetes.io/last-applied-configuration";
    let shown = pairs(annotations).into_iter().filter(|(key, _)| *key != hidden);
    let entries: Vec<String> = shown.map(|(key, value)| annotation(key, text(value))).collect();
    multiline(out, title, &entries);
}

fn annotation(key: &str, value: &str) -> String {
    let value = value.strip_suffix('\n').unwrap_or(value);
    if value.len() + key.len() + 2 <= ANNOTATION_BYTES_MAX && !value.contains('\n') {
        return format!("{key}: {value}");
    }
    let mut entry = format!("{key}:");
    for line in value.split('\n') {
        let cut =
            (0..=line.len().min(ANNOTATION_BYTES_MAX - 2)).rev().find(|end| line.is_char_boundary(*end));
        let shown = &line[..cut.unwrap_or(0)];
        let dots = if shown.len() < line.len() { "..." } else { "" };
        let _ = write!(entry, "\n\t  {shown}{dots}");
    }
    entry
}

/// Tolerations, one per line, by key.
pub(super) fn tolerations(out: &mut String, title: &str, tolerations: &Value) {
    let mut sorted: Vec<&Value> = list(tolerations).iter().collect();
    sorted.sort_by_key(|toleration| text(&toleration["key"]));
    let entries: Vec<String> = sorted.into_iter().map(toleration).collect();
    multiline(out, title, &entries);
}

fn toleration(toleration: &Value) -> String {
    let (key, value, effect) =
        (text(&toleration["key"]), text(&toleration["value"]), text(&toleration["effect"]));
    let mut entry = key.to_owned();
    if !value.is_empty() {
        let _ = write!(entry, "={value}");
    }
    if !effect.is_empty() {
        let _ = write!(entry, ":{effect}");
    }
    if toleration["operator"] == "Exists" && value.is_empty() {
        entry.push_str(if key.is_empty() && effect.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        let _ = write!(entry, " for {seconds}s");
    }
    entry
}

/// An RFC 3339 time as `Tue, 24 Nov 2026 06:41:00 +0000`; the zero time for what is none, as Go prints it.
pub(super) fn time(value: &Value) -> String {
    match text(value).parse::<Timestamp>() {
        Ok(time) => time.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
        Err(_) => "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(),
    }
}
