//! Conditions of `[?(@.type=="Ready")]`.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Step, find, parse::parse_path, quote::literal};

/// A comparison, or the existence of a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    left: Operand,
    comparison: Option<(Operator, Operand)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Operand {
    Path(Vec<Step>),
    Literal(Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

const OPERATORS: [(&str, Operator); 6] = [
    ("==", Operator::Equal),
    ("!=", Operator::NotEqual),
    ("<=", Operator::LessOrEqual),
    (">=", Operator::GreaterOrEqual),
    ("<", Operator::Less),
    (">", Operator::Greater),
];

impl Filter {
    /// Parses what stands between `?(` and `)`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some((at, symbol, operator)) = operator_in(text) else {
            return Ok(Self { left: operand(text.trim())?, comparison: None });
        };
        let right = operand(text[at + symbol.len()..].trim())?;
        Ok(Self { left: operand(text[..at].trim())?, comparison: Some((operator, right)) })
    }

    /// Whether the condition holds for an element.
    pub(super) fn holds(&self, element: &Value, root: &Value) -> Result<bool, String> {
        let left = self.left.values(element, root)?;
        let Some((operator, right)) = &self.comparison else { return Ok(!left.is_empty()) };
        let right = right.values(element, root)?;
        match (left.as_slice(), right.as_slice()) {
            ([left], [right]) => Ok(operator.holds(left, right)),
            ([], _) | (_, []) => Ok(false),
            _ => Err("can only compare one element at a time".to_owned()),
        }
    }
}

fn operator_in(text: &str) -> Option<(usize, &'static str, Operator)> {
    let mut quote = None;
    for (at, character) in text.char_indices() {
        match (quote, character) {
            (Some(open), close) if open == close => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(character),
            (None, _) => {
                let found = OPERATORS.iter().find(|(symbol, _)| text[at..].starts_with(symbol));
                if let Some((symbol, operator)) = found {
                    return Some((at, symbol, *operator));
                }
            }
        }
    }
    None
}

fn operand(text: &str) -> Result<Operand, String> {
    if text.starts_with(['@', '$', '.']) {
        return parse_path(text).map(Operand::Path);
    }
    literal(text).map(Operand::Literal).ok_or_else(|| format!("unrecognized filter operand {text}"))
}

impl Operand {
    fn values(&self, element: &Value, root: &Value) -> Result<Vec<Value>, String> {
        match self {
            Self::Literal(value) => Ok(vec![value.clone()]),
            Self::Path(steps) => Ok(find(steps, element, root)?.into_iter().cloned().collect()),
        }
    }
}

impl Operator {
    fn holds(self, left: &Value, right: &Value) -> bool {
        let order = compare(left, right);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => (left == right).then_some(Ordering::Equal),
    }
}
