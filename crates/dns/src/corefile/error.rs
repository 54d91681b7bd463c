//! What can be wrong with a Corefile, and where.

use std::fmt;
use std::sync::Arc;

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why a Corefile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{position}: {problem}")]
pub struct CorefileError {
    /// Where.
    pub position: Position,
    /// What.
    pub problem: Problem,
}

/// What is wrong at a place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A word of the wrong kind.
    #[error("found {found:?}, expected {expected}")]
    Unexpected {
        /// The word.
        found: String,
        /// What belongs there.
        expected: String,
    },
    /// A word is missing at the end of a line or of the file.
    #[error("{after:?} is not complete: expected {expected}")]
    Missing {
        /// The word before.
        after: String,
        /// What belongs there.
        expected: String,
    },
    /// A word too many.
    #[error("{after:?} takes no further argument {found:?}: remove it, or put it on a line of its own")]
    Excess {
        /// The directive.
        after: String,
        /// The word.
        found: String,
    },
    /// A block that is never closed.
    #[error("the block that {name:?} opens is never closed: add a \"}}\" on a line of its own")]
    Unclosed {
        /// The directive or the key in front.
        name: String,
    },
    /// A quotation that is never closed.
    #[error("the quotation that begins here is never closed: add a '\"'")]
    Unquoted,
    /// A snippet, or a plugin that may stand once, for the second time.
    #[error("{name:?} is there twice, first at {first}: remove one")]
    Twice {
        /// Its name.
        name: String,
        /// Where the first one is.
        first: Position,
    },
    /// An import that cannot be followed.
    #[error("cannot import {name:?}: {reason}")]
    Import {
        /// Snippet, file or pattern.
        name: String,
        /// Why.
        reason: String,
    },
    /// Two words that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

impl Problem {
    /// With its place.
    pub(super) fn at(self, position: &Position) -> CorefileError {
        CorefileError { position: position.clone(), problem: self }
    }
}
