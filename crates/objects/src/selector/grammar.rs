//! The grammar of label selectors, with upstream's words for what does not follow it (`apimachinery/pkg/labels`).

use super::{Operator, Requirement};
use crate::validate::names::{label_value, qualified_name};

const OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

/// A piece of the text. Words may be the operators `in` and `notin`, depending on where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'t> {
    Word(&'t str),
    Symbol(&'t str),
    End,
}

impl<'t> Token<'t> {
    fn text(self) -> &'t str {
        match self {
            Self::Word(text) | Self::Symbol(text) => text,
            Self::End => "",
        }
    }

    fn is_symbol(self, symbol: &str) -> bool {
        self == Token::Symbol(symbol)
    }
}

/// What is left of the text.
struct Parser<'t> {
    rest: &'t str,
}

impl<'t> Parser<'t> {
    fn split(&self) -> (Token<'t>, &'t str) {
        let rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let special = |c: char| matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<');
        if rest.is_empty() {
            return (Token::End, rest);
        }
        let length = if !rest.starts_with(special) {
            rest.find(|c: char| special(c) || c.is_ascii_whitespace()).unwrap_or(rest.len())
        } else if rest.starts_with("==") || rest.starts_with("!=") {
            2
        } else {
            1
        };
        let (piece, rest) = rest.split_at(length);
        (if piece.starts_with(special) { Token::Symbol(piece) } else { Token::Word(piece) }, rest)
    }

    fn peek(&self) -> Token<'t> {
        self.split().0
    }

    fn take(&mut self) -> Token<'t> {
        let (token, rest) = self.split();
        self.rest = rest;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let negated = self.peek().is_symbol("!");
        if negated {
            self.take();
        }
        let Token::Word(key) = self.peek() else { return Err(found(self.take(), "identifier")) };
        self.take();
        check("<nil>", key, &qualified_name(key))?;
        if negated || self.peek() == Token::End || self.peek().is_symbol(",") {
            let operator = if negated { Operator::DoesNotExist } else { Operator::Exists };
            return Ok(Requirement { key: key.to_owned(), operator, values: Vec::new() });
        }
        let sign = self.take();
        let operator = match sign {
            Token::Word("in") | Token::Symbol("=" | "==") => Operator::In,
            Token::Word("notin") | Token::Symbol("!=") => Operator::NotIn,
            Token::Symbol(">") => Operator::GreaterThan,
            Token::Symbol("<") => Operator::LessThan,
            other => return Err(found(other, OPERATORS)),
        };
        let values = if let Token::Word(_) = sign { self.values()? } else { vec![self.value()?] };
        for (at, value) in values.iter().enumerate() {
            check(&format!("values[{at}][{key}]"), value, &label_value(value))?;
        }
        numeric(operator, &values)?;
        Ok(Requirement { key: key.to_owned(), operator, values })
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(value) => {
                self.take();
                Ok(value.to_owned())
            }
            other => Err(found(other, "identifier")),
        }
    }

    /// `(a, b)`; a missing value is an empty one.
    fn values(&mut self) -> Result<Vec<String>, String> {
        let open = self.take();
        if !open.is_symbol("(") {
            return Err(format!("found '{}' expected: '('", open.text()));
        }
        let mut values = Vec::new();
        loop {
            match self.take() {
                Token::Word(value) => {
                    values.push(value.to_owned());
                    match self.take() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(values),
                        other => return Err(found(other, "',' or ')'")),
                    }
                    if self.peek().is_symbol(")") {
                        self.take();
                        values.push(String::new());
                        return Ok(values);
                    }
                }
                Token::Symbol(",") => values.push(String::new()),
                Token::Symbol(")") => {
                    values.push(String::new());
                    return Ok(values);
                }
                other => return Err(found(other, "',', ')' or identifier")),
            }
        }
    }
}

fn found(token: Token<'_>, expected: &str) -> String {
    format!("found '{}', expected: {expected}", token.text())
}

fn check(path: &str, text: &str, complaints: &[String]) -> Result<(), String> {
    if complaints.is_empty() {
        return Ok(());
    }
    Err(format!("{path}: Invalid value: {text:?}: {}", complaints.join("; ")))
}

fn numeric(operator: Operator, values: &[String]) -> Result<(), String> {
    let compares = matches!(operator, Operator::GreaterThan | Operator::LessThan);
    match values.iter().find(|value| compares && value.parse::<i64>().is_err()) {
        Some(value) => Err(format!(
            "values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"
        )),
        None => Ok(()),
    }
}

/// The requirements in `text`.
pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { rest: text };
    let mut requirements = Vec::new();
    if parser.peek() == Token::End {
        return Ok(requirements);
    }
    let first = parser.peek();
    if !matches!(first, Token::Word(_) | Token::Symbol("!")) {
        return Err(found(first, "!, identifier, or 'end of string'"));
    }
    loop {
        let requirement = parser.requirement();
        requirements.push(requirement.map_err(|why| format!("unable to parse requirement: {why}"))?);
        match parser.take() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => {}
            other => return Err(found(other, "',' or 'end of string'")),
        }
        if !matches!(parser.peek(), Token::Word(_) | Token::Symbol("!")) {
            return Err(found(parser.peek(), "identifier after ','"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn what_is_not_a_selector_is_refused_in_upstreams_words() {
        let unable = "unable to parse requirement: ";
        let cases = [
            ("a b", format!("{unable}found 'b', expected: in, notin, =, ==, !=, gt, lt")),
            ("a=b c", "found 'c', expected: ',' or 'end of string'".to_owned()),
            ("a in b", format!("{unable}found 'b' expected: '('")),
            ("a in (b", format!("{unable}found '', expected: ',' or ')'")),
            (",", "found ',', expected: !, identifier, or 'end of string'".to_owned()),
            ("a,,b", "found ',', expected: identifier after ','".to_owned()),
            ("=x", "found '=', expected: !, identifier, or 'end of string'".to_owned()),
            ("!", format!("{unable}found '', expected: identifier")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).unwrap_err(), expected, "{text}");
        }
        for text in ["-a", "a=-b", "x/y/z", "a>b"] {
            assert!(parse(text).unwrap_err().contains("Invalid value"), "{text}");
        }
        assert!(
            parse("-a")
                .unwrap_err()
                .starts_with("unable to parse requirement: <nil>: Invalid value: \"-a\": name part")
        );
    }
}
