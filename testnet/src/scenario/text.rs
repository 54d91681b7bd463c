//! Positions, errors and words: what every part of the parser reads with.

use std::fmt;
use std::str::FromStr;

/// The first thing in a scenario that is not as it should be. Displays as `FILE:LINE:COLUMN: expected …, found …`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {message}")]
pub struct ParseError {
    /// File as given to the parser.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What was expected and what stands there.
    pub message: String,
}

/// One line of the file with its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    pub(super) file: &'a str,
    /// From 1.
    pub(super) number: usize,
    pub(super) text: &'a str,
}

/// A word and where it starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'a> {
    line: Line<'a>,
    /// Byte offset in the line.
    offset: usize,
    pub(super) text: &'a str,
}

/// The words of a line, left to right, up to a ` #` comment.
#[derive(Clone, Debug)]
pub(super) struct Words<'a> {
    line: Line<'a>,
    rest: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn words(self) -> Words<'a> {
        Words { line: self, rest: self.text }
    }

    /// True when nothing but blanks or a comment stands there.
    pub(super) fn is_blank(self) -> bool {
        self.words().peek().is_none()
    }

    pub(super) fn error(self, offset: usize, message: impl Into<String>) -> ParseError {
        let column = self.text[..offset.min(self.text.len())].chars().count() + 1;
        ParseError { file: self.file.to_owned(), line: self.number, column, message: message.into() }
    }
}

impl<'a> Word<'a> {
    /// An error that points at the word.
    pub(super) fn expected(&self, what: impl fmt::Display) -> ParseError {
        self.line.error(self.offset, format!("expected {what}, found `{}`", self.text))
    }

    pub(super) fn parse<T: FromStr>(&self, what: &str) -> Result<T, ParseError> {
        self.text.parse().map_err(|_| self.expected(what))
    }

    /// Several of them joined by commas.
    pub(super) fn parse_list<T: FromStr>(&self, what: &str) -> Result<Vec<T>, ParseError> {
        self.text.split(',').map(|part| part.parse().map_err(|_| self.expected(what))).collect()
    }
}

impl<'a> Words<'a> {
    /// The next word, which stays.
    pub(super) fn peek(&self) -> Option<Word<'a>> {
        let trimmed = self.rest.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            return None;
        }
        let length = trimmed.find(char::is_whitespace).unwrap_or(trimmed.len());
        let offset = self.line.text.len() - trimmed.len();
        Some(Word { line: self.line, offset, text: &trimmed[..length] })
    }

    /// Takes the next word.
    pub(super) fn take(&mut self) -> Option<Word<'a>> {
        let word = self.peek()?;
        self.rest = &word.line.text[word.offset + word.text.len()..];
        Some(word)
    }

    /// Takes the next word, which must be there.
    pub(super) fn need(&mut self, what: impl fmt::Display) -> Result<Word<'a>, ParseError> {
        let end = self.end();
        self.take().ok_or_else(|| self.line.error(end, format!("expected {what}, found the end of the line")))
    }

    /// Takes the next word, which must be `word`.
    pub(super) fn need_exactly(&mut self, word: &str) -> Result<(), ParseError> {
        let found = self.need(format_args!("`{word}`"))?;
        if found.text == word { Ok(()) } else { Err(found.expected(format_args!("`{word}`"))) }
    }

    /// Takes the next word if it is `word`.
    pub(super) fn take_exactly(&mut self, word: &str) -> bool {
        let there = self.peek().is_some_and(|next| next.text == word);
        if there {
            self.take();
        }
        there
    }

    /// Refuses anything that is left.
    pub(super) fn finish(mut self) -> Result<(), ParseError> {
        self.take().map_or(Ok(()), |word| Err(word.expected("the end of the line")))
    }

    /// Byte offset of the end of what was said: before blanks and comment.
    fn end(&self) -> usize {
        let consumed = self.line.text.len() - self.rest.len();
        self.line.text[..consumed].trim_end().len()
    }
}
