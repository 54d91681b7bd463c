//! kubectl's JSONPath dialect: text with `{expressions}`, `range … end`, filters, unions, slices, recursive descent.
//!
//! A template is parsed once and then applied to any number of values. Missing keys print nothing, as `kubectl get`
//! allows; an array index outside of the array is an error. Regular expressions and functions are not part of the
//! dialect.

mod evaluate;
mod filter;
mod parse;
mod quote;

use serde_json::Value;

pub(crate) use evaluate::find;
pub(crate) use parse::{Step, parse_path};

/// One piece of a template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// Text that is printed as it is.
    Text(String),
    /// The values at a path, printed with blanks between them.
    Path(Vec<Step>),
    /// The body for each value at a path.
    Range(Vec<Step>, Vec<Node>),
}

/// A parsed template.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    text: String,
    nodes: Vec<Node>,
}

impl Template {
    /// Parses a template, `{.items[*].metadata.name}`; the error names the offending piece.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { text: text.to_owned(), nodes: parse::template(text)? })
    }

    /// The template as it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Applies the template to a value.
    pub(crate) fn render(&self, root: &Value) -> Result<String, String> {
        let mut text = String::new();
        evaluate::render(&self.nodes, root, root, &mut text)?;
        Ok(text)
    }
}

/// kubectl's relaxed form of a single path: `.a.b`, `a.b`, `{.a.b}` or `{a.b}`.
pub(crate) fn relaxed(text: &str) -> Result<Vec<Step>, String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(inner);
    if inner.is_empty() || inner.contains(['{', '}']) {
        return Err("unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'".to_owned());
    }
    if inner.starts_with(['.', '[', '$', '@']) { parse_path(inner) } else { parse_path(&format!(".{inner}")) }
}

#[cfg(test)]
mod tests;
