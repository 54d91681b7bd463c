//! From template text to nodes and steps.

use super::{
    Node,
    filter::Filter,
    quote::{quoted, quoted_end, split_outside_quotes, unquote},
};

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Back to the root, `$`.
    Root,
    /// The member of that name, of an object.
    Field(String),
    /// Every member or element.
    Wildcard,
    /// All values below, and this one.
    Recursive,
    /// Elements `start:end:step` of an array; a single index is a slice of one that must exist.
    Slice { start: Option<i64>, end: Option<i64>, step: i64, single: bool },
    /// The results of several paths, one after the other.
    Union(Vec<Vec<Step>>),
    /// The elements for which a condition holds.
    Filter(Box<Filter>),
}

/// Parses a whole template.
pub(super) fn template(text: &str) -> Result<Vec<Node>, String> {
    let mut open: Vec<(Vec<super::Step>, Vec<Node>)> = Vec::new();
    let mut nodes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        if at > 0 {
            nodes.push(Node::Text(rest[..at].to_owned()));
        }
        let length = action_end(&rest[at + 1..]).ok_or_else(|| "unclosed action".to_owned())?;
        let action = rest[at + 1..at + 1 + length].trim();
        rest = &rest[at + 1 + length + 1..];
        if let Some(path) =
            action.strip_prefix("range").filter(|path| path.starts_with([' ', '.', '[', '@', '$']))
        {
            open.push((path_of(path.trim())?, std::mem::take(&mut nodes)));
        } else if action == "end" {
            let (path, before) = open.pop().ok_or_else(|| "not in range, nothing to end".to_owned())?;
            let body = std::mem::replace(&mut nodes, before);
            nodes.push(Node::Range(path, body));
        } else {
            nodes.extend(pieces(action)?);
        }
    }
    if !rest.is_empty() {
        nodes.push(Node::Text(rest.to_owned()));
    }
    if open.is_empty() { Ok(nodes) } else { Err("unterminated range".to_owned()) }
}

/// Where the closing brace of an action stands, quoted text and brackets skipped.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '}') => return Some(at),
            (None, _) => {}
        }
    }
    None
}

/// The pieces inside of one pair of braces: quoted texts and paths, in any order.
fn pieces(action: &str) -> Result<Vec<Node>, String> {
    if action.is_empty() {
        return Ok(vec![Node::Path(Vec::new())]);
    }
    let mut nodes = Vec::new();
    let mut rest = action;
    while !rest.is_empty() {
        if let Some(open) = rest.chars().next().filter(|first| matches!(first, '\'' | '"')) {
            let length =
                quoted_end(&rest[1..], open).ok_or_else(|| "unterminated quoted string".to_owned())?;
            nodes.push(Node::Text(unquote(&rest[1..=length])));
            rest = rest[length + 2..].trim_start();
            continue;
        }
        let length = path_end(rest);
        nodes.push(Node::Path(path_of(rest[..length].trim())?));
        rest = rest[length..].trim_start();
    }
    Ok(nodes)
}

/// A path ends at a blank or a quote outside of brackets.
fn path_end(text: &str) -> usize {
    let mut depth = 0usize;
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') if depth > 0 => quote = Some(character),
            (None, '[' | '(') => depth += 1,
            (None, ']' | ')') => depth = depth.saturating_sub(1),
            (None, ' ' | '\'' | '"') if depth == 0 => return at,
            (None, _) => {}
        }
    }
    text.len()
}

fn path_of(text: &str) -> Result<Vec<Step>, String> {
    if text.starts_with(['.', '[', '$', '@']) {
        return parse_path(text);
    }
    Err(format!("unrecognized identifier {text}"))
}

/// Parses one path, `.spec.ports[*].port`.
pub(crate) fn parse_path(text: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            '$' if steps.is_empty() => {
                steps.push(Step::Root);
                rest = &rest[1..];
            }
            '@' if steps.is_empty() => rest = &rest[1..],
            '.' if rest.starts_with("..") => {
                steps.push(Step::Recursive);
                rest = &rest[2..];
                if !rest.starts_with('[') {
                    rest = field(rest, &mut steps);
                }
            }
            '.' => {
                rest = &rest[1..];
                if !rest.starts_with('[') {
                    rest = field(rest, &mut steps);
                }
            }
            '[' => {
                let length = bracket_end(rest).ok_or_else(|| "unterminated array".to_owned())?;
                steps.push(bracket(rest[1..length].trim())?);
                rest = &rest[length + 1..];
            }
            _ => return Err(format!("unrecognized character in action: {first:?}")),
        }
    }
    Ok(steps)
}

/// Takes one field name; a backslash keeps the character after it (`.metadata.labels.app\.kubernetes\.io/name`).
fn field<'a>(text: &'a str, steps: &mut Vec<Step>) -> &'a str {
    let mut name = String::new();
    let mut characters = text.char_indices();
    let mut end = text.len();
    while let Some((at, character)) = characters.next() {
        match character {
            '\\' => name.extend(characters.next().map(|(_, next)| next)),
            '.' | '[' | ' ' => {
                end = at;
                break;
            }
            other => name.push(other),
        }
    }
    match name.as_str() {
        "" => {}
        "*" => steps.push(Step::Wildcard),
        _ => steps.push(Step::Field(name)),
    }
    &text[end..]
}

fn bracket_end(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, '[') => depth += 1,
            (None, ']') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
            (None, _) => {}
        }
    }
    None
}

fn bracket(inner: &str) -> Result<Step, String> {
    if inner == "*" {
        return Ok(Step::Slice { start: None, end: None, step: 1, single: false });
    }
    if let Some(condition) = inner.strip_prefix("?(").and_then(|rest| rest.strip_suffix(')')) {
        return Filter::parse(condition).map(|filter| Step::Filter(Box::new(filter)));
    }
    let parts = split_outside_quotes(inner, ',');
    if parts.len() > 1 {
        let member = |part: &&str| bracket(part.trim()).map(|step| vec![step]);
        return parts.iter().map(member).collect::<Result<_, _>>().map(Step::Union);
    }
    if let Some(name) = quoted(inner) {
        // A dot in a quoted name separates too, unless a backslash stands before it.
        return parse_path(&format!(".{name}")).map(|path| Step::Union(vec![path]));
    }
    if inner.starts_with(['.', '@', '$']) {
        return parse_path(inner).map(|path| Step::Union(vec![path]));
    }
    slice(inner).ok_or_else(|| format!("invalid array index {inner}"))
}

fn slice(inner: &str) -> Option<Step> {
    let number = |text: &str| if text.is_empty() { Some(None) } else { text.parse::<i64>().ok().map(Some) };
    let parts: Vec<&str> = inner.split(':').map(str::trim).collect();
    match parts.as_slice() {
        [index] => {
            let start = index.parse::<i64>().ok()?;
            Some(Step::Slice { start: Some(start), end: None, step: 1, single: true })
        }
        [start, end] => {
            Some(Step::Slice { start: number(start)?, end: number(end)?, step: 1, single: false })
        }
        [start, end, step] => {
            let step = number(step)?.unwrap_or(1);
            Some(Step::Slice { start: number(start)?, end: number(end)?, step, single: false })
        }
        _ => None,
    }
}
