//! Reading the words of a directive: how many there may be, and what each must look like.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::error::{CorefileError, Problem};
use super::token::Token;
use super::tree::Directive;
use crate::message::records::{kind_number, rcode_number};
use crate::name::Name;

/// Longest regular expression, as CoreDNS.
const PATTERN_BYTES_MAX: usize = 10_000;
/// Memory that a compiled expression may take.
const PATTERN_MEMORY_MAX: usize = 1 << 20;

type Result<T> = std::result::Result<T, CorefileError>;

impl Directive {
    /// The error that an argument is missing.
    pub(super) fn missing(&self, expected: &str) -> CorefileError {
        let last = self.arguments.last().unwrap_or(&self.name);
        Problem::Missing { after: self.name.text.clone(), expected: expected.into() }.at(&last.position)
    }

    /// No argument and no block.
    pub(super) fn bare(&self) -> Result<()> {
        self.at_most(0)?;
        self.no_block()
    }

    /// No block.
    pub(super) fn no_block(&self) -> Result<()> {
        match self.block.first() {
            None => Ok(()),
            Some(line) => Err(line.name.unexpected(format!("no block: {} has no options", self.name.text))),
        }
    }

    /// No more arguments than this.
    pub(super) fn at_most(&self, count: usize) -> Result<()> {
        match self.arguments.get(count) {
            None => Ok(()),
            Some(excess) => {
                let problem = Problem::Excess { after: self.name.text.clone(), found: excess.text.clone() };
                Err(problem.at(&excess.position))
            }
        }
    }

    /// The only argument.
    pub(super) fn only(&self, expected: &str) -> Result<&Token> {
        self.at_most(1)?;
        self.argument(0, expected)
    }

    /// The argument at this index.
    pub(super) fn argument(&self, index: usize, expected: &str) -> Result<&Token> {
        self.arguments.get(index).ok_or_else(|| self.missing(expected))
    }

    /// All arguments, at least one.
    pub(super) fn some(&self, expected: &str) -> Result<&[Token]> {
        self.argument(0, expected)?;
        Ok(&self.arguments)
    }

    /// The error that this option does not exist.
    pub(super) fn unknown(&self, of: &str, known: &str) -> CorefileError {
        self.name.unexpected(format!("an option of {of}: {known}"))
    }

    /// Names in the arguments from this index on; the root when there are none (`fallthrough`).
    pub(super) fn zones_or_root(&self, from: usize) -> Result<Vec<Name>> {
        let zones = zones(self.arguments.get(from..).unwrap_or_default())?;
        if zones.is_empty() { Ok(vec![root()]) } else { Ok(zones) }
    }
}

/// The name of everything.
pub(super) fn root() -> Name {
    Name::root()
}

impl Token {
    /// A number in a range.
    pub(super) fn number<N>(&self, range: RangeInclusive<N>) -> Result<N>
    where
        N: FromStr + PartialOrd + std::fmt::Display,
    {
        let number = self.text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            self.unexpected(format!("a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// A duration in Go's form.
    pub(super) fn duration(&self) -> Result<Duration> {
        read_duration(&self.text).ok_or_else(|| self.unexpected("a duration such as 500ms, 5s, 1m30s or 1h"))
    }

    /// A domain name.
    pub(super) fn name(&self) -> Result<Name> {
        self.text.parse().map_err(|error| self.unexpected(format!("a domain name ({error})")))
    }

    /// One of a few words.
    pub(super) fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T> {
        let chosen = choices.iter().find(|(word, _)| self.text.eq_ignore_ascii_case(word));
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            self.unexpected(format!("one of {}", words.join(", ")))
        })
    }

    /// A regular expression.
    pub(super) fn regex(&self) -> Result<Regex> {
        if self.text.len() > PATTERN_BYTES_MAX {
            return Err(self.unexpected(format!("an expression of at most {PATTERN_BYTES_MAX} bytes")));
        }
        let built = RegexBuilder::new(&self.text).size_limit(PATTERN_MEMORY_MAX).build();
        built.map_err(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            self.unexpected(format!("a regular expression ({reason})"))
        })
    }

    /// A record type.
    pub(super) fn kind(&self) -> Result<u16> {
        kind_number(&self.text.to_ascii_uppercase())
            .ok_or_else(|| self.unexpected("a record type such as A or TXT"))
    }

    /// A response code.
    pub(super) fn rcode(&self) -> Result<u16> {
        rcode_number(&self.text)
            .ok_or_else(|| self.unexpected("a response code such as NXDOMAIN or SERVFAIL"))
    }
}

/// The names of several zones; networks in CIDR form are reverse zones.
pub(super) fn zones(tokens: &[Token]) -> Result<Vec<Name>> {
    let mut zones = Vec::new();
    for token in tokens {
        zones.extend(super::key::read_zone(token)?);
    }
    Ok(zones)
}

/// Go's `time.ParseDuration`, without signs.
pub(super) fn read_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut total, mut rest) = (0.0_f64, text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(total).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5h", 5_400_000), ("0", 0), ("0s", 0)]
        {
            assert_eq!(read_duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "5x", "-5s", "5s5", "1..5s", "99999999999999999999h"] {
            assert_eq!(read_duration(text), None, "{text}");
        }
    }
}
