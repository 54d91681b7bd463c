//! The records of `template`: text with `{{ … }}` in Go's template language, of which the part is read that records need:
//! fields of the question, groups of the match, and literal text. Anything else is refused where it stands.

use std::fmt::Write;

use super::Result;
use crate::corefile::token::Token;

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name,
    Zone,
    Type,
    Class,
    Remote,
    Id,
    /// A group of the match, by number or by name.
    Group(String),
}

/// A record with gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

/// What fills the gaps.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The name asked for, with its final dot.
    pub name: &'a str,
    /// The zone that it is in.
    pub zone: &'a str,
    /// The type asked for.
    pub kind: &'a str,
    /// The class asked for.
    pub class: &'a str,
    /// The client's address.
    pub remote: &'a str,
    /// The query's id.
    pub id: u16,
    /// The match.
    pub captures: &'a regex::Captures<'a>,
}

impl Pattern {
    /// Reads the text of a word.
    pub(super) fn read(token: &Token) -> Result<Self> {
        let mut pieces = Vec::new();
        let mut rest = &token.text[..];
        while let Some((before, behind)) = rest.split_once("{{") {
            pieces.push(Piece::Text(before.into()));
            let Some((action, behind)) = behind.split_once("}}") else {
                return Err(token.unexpected("\"}}\" behind \"{{\""));
            };
            pieces.push(read_action(action.trim_matches('-').trim()).ok_or_else(|| {
                token.unexpected(
                    "{{ .Name }}, .Zone, .Type, .Class, .Remote, .Group.NAME, index .Match N or index .Group \"NAME\": \
                     nothing else of Go's templates is served",
                )
            })?);
            rest = behind;
        }
        pieces.push(Piece::Text(rest.into()));
        Ok(Self(pieces))
    }

    /// The text with its gaps filled.
    #[must_use]
    pub fn fill(&self, facts: &Facts<'_>) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Name => text.push_str(facts.name),
                Piece::Zone => text.push_str(facts.zone),
                Piece::Type => text.push_str(facts.kind),
                Piece::Class => text.push_str(facts.class),
                Piece::Remote => text.push_str(facts.remote),
                Piece::Id => {
                    // Writing to a String cannot fail.
                    let _ = write!(text, "{}", facts.id);
                }
                Piece::Group(name) => {
                    let group = match name.parse::<usize>() {
                        Ok(number) => facts.captures.get(number),
                        Err(_) => facts.captures.name(name),
                    };
                    text.push_str(group.map_or("", |group| group.as_str()));
                }
            }
        }
        text
    }
}

fn read_action(action: &str) -> Option<Piece> {
    let words: Vec<&str> = action.split_whitespace().collect();
    Some(match words[..] {
        [".Name" | ".Question.Name"] => Piece::Name,
        [".Zone"] => Piece::Zone,
        [".Type"] => Piece::Type,
        [".Class"] => Piece::Class,
        [".Remote"] => Piece::Remote,
        [".Message.Id" | ".Message.MsgHdr.Id"] => Piece::Id,
        [group] => Piece::Group(group.strip_prefix(".Group.")?.to_owned()),
        ["index", ".Match", number] => Piece::Group(number.parse::<usize>().ok()?.to_string()),
        ["index", ".Group", name] => Piece::Group(name.trim_matches(['"', '`']).to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::token::tokens;

    #[test]
    fn gaps_are_filled_and_the_rest_of_the_language_is_refused() {
        let read = |text: &str| Pattern::read(&tokens(&format!("{text:?}"), "f").unwrap()[0]);
        let pattern = read("{{ .Name }} 60 IN A {{ index .Match 1 }}.{{.Group.b}}").unwrap();
        let expression = regex::Regex::new("^ip-([0-9]+)-(?P<b>[0-9]+)").unwrap();
        let captures = expression.captures("ip-10-20.example.org.").unwrap();
        let facts = Facts {
            name: "ip-10-20.example.org.",
            zone: "example.org.",
            kind: "A",
            class: "IN",
            remote: "10.0.0.1",
            id: 7,
            captures: &captures,
        };
        assert_eq!(pattern.fill(&facts), "ip-10-20.example.org. 60 IN A 10.20");
        for text in ["{{ .Name", "{{ if .Name }}", "{{ parseInt .Group.a 16 8 }}", "{{ .Meta \"a\" }}"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
