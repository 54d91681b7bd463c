//! What `rewrite` says.

use regex::Regex;

/// How a rule on names compares.
#[derive(Clone, Debug)]
pub enum NameMatch {
    /// The whole name.
    Exact(String),
    /// Its beginning.
    Prefix(String),
    /// Its end.
    Suffix(String),
    /// Any part; all of them are replaced.
    Substring(String),
    /// A regular expression; `{1}` is its first group.
    Regex(Regex),
}

/// A rule on the records of the answer.
#[derive(Clone, Debug)]
pub enum Answers {
    /// Owner names that match `0` become `1`.
    Name(Regex, String),
    /// Names in the data that match `0` become `1`.
    Value(Regex, String),
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum RewriteAction {
    /// Another name is looked up.
    Name {
        /// Which names.
        from: NameMatch,
        /// What they become.
        to: String,
        /// The answer bears the name that was asked for, and so do names in its data.
        auto: bool,
        /// Rules on the answer.
        answers: Vec<Answers>,
    },
    /// Another type is looked up.
    Type(u16, u16),
    /// The answer to matching names has another code: this one instead of that one, or of any.
    Rcode(NameMatch, Option<u16>, u16),
    /// Lifetimes of the records of matching names are brought into a range.
    Ttl(NameMatch, u32, u32),
}

/// One rule of `rewrite`.
#[derive(Clone, Debug)]
pub struct Rewrite {
    /// True: the rules behind a matching one are tried too.
    pub proceed: bool,
    /// What it does.
    pub action: RewriteAction,
}
