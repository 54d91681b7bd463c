//! `rewrite`.

use regex::Regex;

use super::service::conflict;
use super::{Reader, Result};
use crate::corefile::config::{Answers, NameMatch, Rewrite, RewriteAction};
use crate::corefile::token::Token;
use crate::corefile::tree::Directive;

/// How a name rule compares, by its word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

const MATCHES: [(&str, Match); 5] = [
    ("exact", Match::Exact),
    ("prefix", Match::Prefix),
    ("suffix", Match::Suffix),
    ("substring", Match::Substring),
    ("regex", Match::Regex),
];

/// The rule of one line; `None` when it is of a kind that is not served.
pub(super) fn read(line: &Directive, reader: &mut Reader) -> Result<Option<Rewrite>> {
    let mut words = line.arguments.clone();
    for option in &line.block {
        words.push(option.name.clone());
        words.extend(option.arguments.iter().cloned());
    }
    let expected = "name, type, rcode or ttl, and what becomes of it";
    let Some(first) = words.first() else { return Err(line.missing(expected)) };
    let proceed = first.text.eq_ignore_ascii_case("continue");
    let rest = if proceed || first.text.eq_ignore_ascii_case("stop") { &words[1..] } else { &words[..] };
    let Some((field, rest)) = rest.split_first() else { return Err(line.missing(expected)) };
    let action = match &field.text.to_ascii_lowercase()[..] {
        "name" => read_name(line, rest)?,
        "type" => match rest {
            [from, to] => RewriteAction::Type(from.kind()?, to.kind()?),
            _ => return Err(conflict(line, "rewrite type takes two record types, from and to")),
        },
        "ttl" => read_ttl(line, rest)?,
        "rcode" => read_rcode(line, rest)?,
        "class" => {
            reader.option(line, "rewrite class", "remove it; other classes than IN are refused");
            return Ok(None);
        }
        "cname" => {
            reader.option(line, "rewrite cname", "write a rewrite name rule for the alias itself");
            return Ok(None);
        }
        "edns0" => {
            reader.option(line, "rewrite edns0", "remove it; options of a query are not passed on");
            return Ok(None);
        }
        _ => return Err(field.unexpected("name, type, rcode or ttl")),
    };
    Ok(Some(Rewrite { proceed, action }))
}

/// `[exact|prefix|suffix|substring|regex] FROM TO [answer …]`.
fn read_name(line: &Directive, words: &[Token]) -> Result<RewriteAction> {
    let missing = || line.missing("the name to look for and the name to put in its place");
    let (kind, from, to, rest) = match words {
        [from, to] => (Match::Exact, from, to, &[][..]),
        [kind, from, to, rest @ ..] => (kind.one_of(&MATCHES)?, from, to, rest),
        _ => return Err(missing()),
    };
    let (mut auto, answers) = read_answers(line, rest)?;
    auto |= kind == Match::Exact;
    let mut target = to.text.to_ascii_lowercase();
    // As CoreDNS, which completes both sides: a prefix or a part is whole labels.
    if kind != Match::Regex {
        target = with_dot(&target);
    }
    let from = read_match(kind, from)?;
    if let NameMatch::Regex(pattern) = &from {
        check_groups(pattern, to)?;
    }
    Ok(RewriteAction::Name { from, to: target, auto, answers })
}

fn read_match(kind: Match, from: &Token) -> Result<NameMatch> {
    let text = from.text.to_ascii_lowercase();
    Ok(match kind {
        Match::Exact => NameMatch::Exact(with_dot(&text)),
        Match::Prefix => NameMatch::Prefix(with_dot(&text)),
        Match::Suffix => NameMatch::Suffix(with_dot(&text)),
        Match::Substring if text.is_empty() => return Err(from.unexpected("a part of a name")),
        Match::Substring => NameMatch::Substring(with_dot(&text)),
        Match::Regex => NameMatch::Regex(from.regex()?),
    })
}

fn with_dot(name: &str) -> String {
    if name.ends_with('.') { name.to_owned() } else { format!("{name}.") }
}

/// `answer auto`, or any number of `[answer] name FROM TO` and `[answer] value FROM TO`.
fn read_answers(line: &Directive, words: &[Token]) -> Result<(bool, Vec<Answers>)> {
    let (mut auto, mut answers) = (false, Vec::new());
    let mut words = words.iter().peekable();
    if let Some(first) = words.peek().filter(|first| first.text != "answer") {
        return Err(first.unexpected("answer, or the end of the rule"));
    }
    while let Some(word) = words.next() {
        let word = if word.text == "answer" { words.next() } else { Some(word) };
        let Some(word) = word else { return Err(line.missing("auto, name or value")) };
        if word.text == "auto" {
            auto = true;
            continue;
        }
        let is_name = word.one_of(&[("name", true), ("value", false)])?;
        let (Some(from), Some(to)) = (words.next(), words.next()) else {
            return Err(line.missing("an expression and what becomes of it"));
        };
        let pattern = from.regex()?;
        check_groups(&pattern, to)?;
        let to = to.text.to_ascii_lowercase();
        answers.push(if is_name { Answers::Name(pattern, to) } else { Answers::Value(pattern, to) });
    }
    if auto && answers.iter().any(|answer| matches!(answer, Answers::Name(..))) {
        return Err(conflict(line, "answer auto and answer name exclude each other: keep one"));
    }
    Ok((auto, answers))
}

/// A replacement may use no more groups than the expression has.
fn check_groups(pattern: &Regex, to: &Token) -> Result<()> {
    let groups = pattern.captures_len() - 1;
    match (groups + 1..=100).find(|index| to.text.contains(&format!("{{{index}}}"))) {
        None => Ok(()),
        Some(_) => Err(to.unexpected(format!("no group above {{{groups}}}: the expression has {groups}"))),
    }
}

/// `[exact|…] NAME FROM TO`, where FROM is a code or ANY.
fn read_rcode(line: &Directive, words: &[Token]) -> Result<RewriteAction> {
    let (kind, name, from, to) = match words {
        [name, from, to] => (Match::Exact, name, from, to),
        [kind, name, from, to] => (kind.one_of(&MATCHES)?, name, from, to),
        _ => return Err(line.missing("a name, the code to look for and the code to put in its place")),
    };
    let from = if from.text.eq_ignore_ascii_case("any") { None } else { Some(from.rcode()?) };
    Ok(RewriteAction::Rcode(read_match(kind, name)?, from, to.rcode()?))
}

/// `[exact|…] FROM SECONDS`, where the seconds may be `MIN-MAX`, `MIN-` or `-MAX`.
fn read_ttl(line: &Directive, words: &[Token]) -> Result<RewriteAction> {
    let (kind, from, seconds) = match words {
        [from, seconds] => (Match::Exact, from, seconds),
        [kind, from, seconds] => (kind.one_of(&MATCHES)?, from, seconds),
        _ => return Err(line.missing("a name and seconds")),
    };
    let bound = |text: &str, empty: u32| if text.is_empty() { Some(empty) } else { text.parse().ok() };
    let range = match seconds.text.split_once('-') {
        Some((low, high)) => bound(low, 0).zip(bound(high, i32::MAX as u32)),
        None => seconds.text.parse().ok().map(|seconds| (seconds, seconds)),
    };
    let (low, high) = range
        .filter(|(low, high)| low <= high)
        .ok_or_else(|| seconds.unexpected("seconds, or a range such as 30-300"))?;
    Ok(RewriteAction::Ttl(read_match(kind, from)?, low, high))
}
