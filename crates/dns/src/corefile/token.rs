//! Words of a Corefile: separated by white space, quoted with `"`, comments from `#` to the end of the line.

use std::sync::Arc;

use super::error::{CorefileError, Position, Problem};

/// One word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The word without its quotes.
    pub text: String,
    /// Where it begins.
    pub position: Position,
    /// True when it stood in quotes: then it is never a brace.
    pub quoted: bool,
    /// True for the first word of a line.
    pub first: bool,
}

impl Token {
    /// True for the bare word `text`.
    pub(super) fn is(&self, text: &str) -> bool {
        !self.quoted && self.text == text
    }

    /// The error that this word is not what belongs here.
    pub(super) fn unexpected(&self, expected: impl Into<String>) -> CorefileError {
        Problem::Unexpected { found: self.text.clone(), expected: expected.into() }.at(&self.position)
    }
}

/// Reads one character at a time and knows where it is.
struct Reader<'t> {
    rest: std::iter::Peekable<std::str::Chars<'t>>,
    file: Arc<str>,
    line: u32,
    column: u32,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let character = self.rest.next()?;
        if character == '\n' {
            (self.line, self.column) = (self.line + 1, 1);
        } else {
            self.column += 1;
        }
        Some(character)
    }

    fn position(&self) -> Position {
        Position { file: Arc::clone(&self.file), line: self.line, column: self.column }
    }

    /// The rest of a quotation; only `\"` is an escape.
    fn quotation(&mut self, start: &Position) -> Result<String, CorefileError> {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(Problem::Unquoted.at(start)),
                Some('"') => return Ok(text),
                Some('\\') if self.rest.peek() == Some(&'"') => {
                    self.next();
                    text.push('"');
                }
                Some(other) => text.push(other),
            }
        }
    }

    /// A bare word: up to white space or a comment.
    fn word(&mut self) -> String {
        let mut text = String::new();
        while let Some(&next) = self.rest.peek() {
            if next.is_whitespace() || next == '#' {
                break;
            }
            text.push(next);
            self.next();
        }
        text
    }

    fn skip_line(&mut self) {
        while self.rest.peek().is_some_and(|next| *next != '\n') {
            self.next();
        }
    }
}

/// The words of `text`.
pub(super) fn tokens(text: &str, file: &str) -> Result<Vec<Token>, CorefileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text.chars().peekable(), file: file.into(), line: 1, column: 1 };
    let mut tokens = Vec::new();
    let mut first = true;
    while let Some(&next) = reader.rest.peek() {
        let position = reader.position();
        match next {
            '#' => reader.skip_line(),
            '"' => {
                reader.next();
                let text = reader.quotation(&position)?;
                tokens.push(Token { text, position, quoted: true, first });
                first = false;
            }
            white if white.is_whitespace() => {
                first |= white == '\n';
                reader.next();
            }
            _ => {
                tokens.push(Token { text: reader.word(), position, quoted: false, first });
                first = false;
            }
        }
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_quotes_comments_and_places() {
        let text = "\u{feff}.:53 { # all\n  answer \"a \\\"b\\\" \\d {{ .x }}\" }\r\n\n#c\nz";
        let read = tokens(text, "Corefile").unwrap();
        let shown: Vec<_> = read
            .iter()
            .map(|token| (token.text.as_str(), token.position.to_string(), token.first, token.quoted))
            .collect();
        let at = |place: &str| format!("Corefile:{place}");
        assert_eq!(
            shown,
            [
                (".:53", at("1:1"), true, false),
                ("{", at("1:6"), false, false),
                ("answer", at("2:3"), true, false),
                ("a \"b\" \\d {{ .x }}", at("2:10"), false, true),
                ("}", at("2:32"), false, false),
                ("z", at("5:1"), true, false),
            ]
        );
        let open = tokens("a\n b \"c", "Corefile").unwrap_err();
        assert_eq!(open.position.to_string(), "Corefile:2:4");
    }
}
