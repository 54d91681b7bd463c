//! `--sort-by`: numbers by value, everything else as text with digits by value.

use std::cmp::Ordering;

use serde_json::Value;

use super::Found;
use crate::commands::{
    failure::Failure,
    print::jsonpath::{self, Step},
};

/// Sorts objects.
pub(super) fn objects(objects: &mut [Found], path: &str) -> Result<(), Failure> {
    let path = parse(path)?;
    objects.sort_by(|(_, left), (_, right)| compare(&path, left, right));
    Ok(())
}

/// Sorts the rows of a Table by their objects.
pub(super) fn rows(table: &mut Value, path: &str) -> Result<(), Failure> {
    let path = parse(path)?;
    if let Some(rows) = table["rows"].as_array_mut() {
        rows.sort_by(|left, right| compare(&path, &left["object"], &right["object"]));
    }
    Ok(())
}

fn parse(path: &str) -> Result<Vec<Step>, Failure> {
    jsonpath::relaxed(path).map_err(Failure::usage)
}

fn compare(path: &[Step], left: &Value, right: &Value) -> Ordering {
    let first =
        |object| jsonpath::find(path, object, object).ok().and_then(|found| found.first().copied().cloned());
    match (first(left), first(right)) {
        (Some(left), Some(right)) => compare_values(&left, &right),
        (left, right) => left.is_some().cmp(&right.is_some()),
    }
}

fn compare_values(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left.as_f64().partial_cmp(&right.as_f64()).unwrap_or(Ordering::Equal)
        }
        (Value::String(left), Value::String(right)) => digits_by_value(left, right),
        _ => left.to_string().cmp(&right.to_string()),
    }
}

/// Text order, but runs of digits compare as numbers: `pod-2` before `pod-10`.
fn digits_by_value(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left, right);
    while !a.is_empty() && !b.is_empty() {
        let ((x, x_rest), (y, y_rest)) = (run(a), run(b));
        let order = match (x.trim_start_matches('0'), y.trim_start_matches('0')) {
            (m, n) if is_digits(x) && is_digits(y) => m.len().cmp(&n.len()).then_with(|| m.cmp(n)),
            _ => x.cmp(y),
        };
        if order.is_ne() {
            return order;
        }
        (a, b) = (x_rest, y_rest);
    }
    a.len().cmp(&b.len()).then_with(|| left.cmp(right))
}

fn is_digits(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
}

/// The digits, or the other characters, that a text begins with, and the rest.
fn run(text: &str) -> (&str, &str) {
    let digits = is_digits(text);
    text.split_at(text.find(|next: char| next.is_ascii_digit() != digits).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_by_value() {
        let mut names = ["pod-10", "pod-2", "pod", "a1", "10", "9"];
        names.sort_by(|a, b| digits_by_value(a, b));
        assert_eq!(names, ["9", "10", "a1", "pod", "pod-2", "pod-10"]);
    }
}
