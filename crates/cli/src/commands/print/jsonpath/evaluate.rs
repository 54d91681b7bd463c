//! Applying nodes and steps to values.

use serde_json::Value;

use super::{super::go_json, Node, Step};

/// Prints nodes; paths start at `current`.
pub(super) fn render(nodes: &[Node], current: &Value, root: &Value, text: &mut String) -> Result<(), String> {
    for node in nodes {
        match node {
            Node::Text(literal) => text.push_str(literal),
            Node::Path(steps) => {
                let values: Vec<String> = find(steps, current, root)?.into_iter().map(printed).collect();
                text.push_str(&values.join(" "));
            }
            Node::Range(steps, body) => {
                for value in find(steps, current, root)? {
                    render(body, value, root, text)?;
                }
            }
        }
    }
    Ok(())
}

/// A value as Go prints it: strings bare, lists and maps as compact JSON.
fn printed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => go_json::number(number),
        other => go_json::compact(&super::super::key_order::sorted(other)),
    }
}

/// The values at a path, starting at `current`.
pub(crate) fn find<'a>(
    steps: &[Step],
    current: &'a Value,
    root: &'a Value,
) -> Result<Vec<&'a Value>, String> {
    let mut values = vec![current];
    for step in steps {
        let mut next = Vec::new();
        match step {
            // All results of the first path, then all of the second.
            Step::Union(paths) => {
                for path in paths {
                    for value in &values {
                        next.extend(find(path, value, root)?);
                    }
                }
            }
            _ => values.into_iter().try_for_each(|value| apply(step, value, root, &mut next))?,
        }
        values = next;
    }
    Ok(values)
}

fn apply<'a>(step: &Step, value: &'a Value, root: &'a Value, out: &mut Vec<&'a Value>) -> Result<(), String> {
    match step {
        Step::Root => out.push(root),
        Step::Field(name) => out.extend(value.get(name)),
        Step::Wildcard => out.extend(children(value)),
        Step::Recursive => descend(value, out),
        Step::Slice { start, end, step, single } => slice(value, (*start, *end, *step), *single, out)?,
        Step::Union(_) => {}
        Step::Filter(filter) => {
            for element in children(value) {
                if filter.holds(element, root)? {
                    out.push(element);
                }
            }
        }
    }
    Ok(())
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(map) => {
            // Go walks maps in sorted order where it prints them.
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            keys.into_iter().map(|key| &map[key]).collect()
        }
        _ => Vec::new(),
    }
}

fn descend<'a>(value: &'a Value, out: &mut Vec<&'a Value>) {
    out.push(value);
    for child in children(value) {
        if child.is_object() || child.is_array() {
            descend(child, out);
        }
    }
}

fn slice<'a>(
    value: &'a Value,
    (start, end, step): (Option<i64>, Option<i64>, i64),
    single: bool,
    out: &mut Vec<&'a Value>,
) -> Result<(), String> {
    let items = match value {
        Value::Array(items) => items,
        Value::Null => return Ok(()),
        other => return Err(format!("{} is not array or slice", go_type(other))),
    };
    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
    let from_end = |index: i64| if index < 0 { index + length } else { index };
    let first = from_end(start.unwrap_or(0));
    if single {
        let at = usize::try_from(first).ok().and_then(|at| items.get(at));
        out.push(at.ok_or_else(|| {
            format!("array index out of bounds: index {}, length {length}", start.unwrap_or_default())
        })?);
        return Ok(());
    }
    let step = usize::try_from(step).ok().filter(|step| *step > 0).ok_or("step must be > 0")?;
    let first = usize::try_from(first.max(0)).unwrap_or(usize::MAX);
    let last = usize::try_from(from_end(end.unwrap_or(length)).clamp(0, length)).unwrap_or(0);
    out.extend(items.iter().take(last).skip(first).step_by(step));
    Ok(())
}

/// The name that Go gives to the type of a JSON value.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
