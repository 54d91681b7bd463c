//! `rewrite`: another question is looked up than the one that was asked, and its answer is changed back.

use regex::Regex;

use super::ask::Ask;
use crate::corefile::{Answers, NameMatch, Rewrite, RewriteAction};
use crate::message::records::{Record, Response};
use crate::message::rtype;
use crate::name::Name;

/// How names of the answer are changed.
#[derive(Clone, Debug)]
enum Change {
    /// The name itself and what lies below it.
    Remap(String, String),
    /// The end of the name.
    Suffix(String, String),
    /// What an expression matches.
    Regex(Regex, String),
}

/// One change of the answer, to be made in reverse order.
#[derive(Clone, Debug)]
enum Revert {
    Owner(Change),
    Value(Change),
    Ttl(u32, u32),
    /// The code, where it is this one or no matter which, becomes that one.
    Rcode(Option<u16>, u16),
}

/// What must be done to the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Reverts(Vec<Revert>);

/// Applies the rules. The question to look up, and how to change its answer; `None` when no rule matches, an error when a
/// rule makes a name that is none.
pub(super) fn apply(rules: &[Rewrite], ask: &Ask) -> Result<Option<(Ask, Reverts)>, String> {
    if rules.is_empty() {
        return Ok(None);
    }
    let (mut changed, mut reverts, mut matched) = (ask.clone(), Reverts::default(), false);
    for rule in rules {
        let hit = match &rule.action {
            RewriteAction::Type(from, to) => {
                let hit = changed.kind == *from;
                if hit {
                    changed.kind = *to;
                }
                hit
            }
            RewriteAction::Rcode(names, from, to) => {
                let hit = replaced(names, "", &changed.text()).is_some();
                if hit {
                    reverts.0.push(Revert::Rcode(*from, *to));
                }
                hit
            }
            RewriteAction::Ttl(names, low, high) => {
                let hit = replaced(names, "", &changed.text()).is_some();
                if hit {
                    reverts.0.push(Revert::Ttl(*low, *high));
                }
                hit
            }
            RewriteAction::Name { from, to, auto, answers } => {
                rename(&mut changed, &mut reverts, from, to, *auto, answers)?
            }
        };
        matched |= hit;
        if hit && !rule.proceed {
            break;
        }
    }
    Ok(matched.then_some((changed, reverts)))
}

fn rename(
    ask: &mut Ask,
    reverts: &mut Reverts,
    from: &NameMatch,
    to: &str,
    auto: bool,
    answers: &[Answers],
) -> Result<bool, String> {
    let old = ask.text();
    // Names with escapes are nobody's rule.
    let Some(new) = replaced(from, to, &old).filter(|_| !old.contains('\\')) else { return Ok(false) };
    let name: Name = new.parse().map_err(|error| format!("invalid name after rewrite: {error}"))?;
    ask.name = name.as_wire().to_vec();
    if auto {
        let change = match from {
            NameMatch::Suffix(suffix) => Change::Suffix(to.to_owned(), suffix.clone()),
            _ => Change::Remap(name.to_string(), old),
        };
        reverts.0.push(Revert::Owner(change.clone()));
        reverts.0.push(Revert::Value(change));
    }
    reverts.0.extend(answers.iter().map(|answer| match answer {
        Answers::Name(pattern, to) => Revert::Owner(Change::Regex(pattern.clone(), to.clone())),
        Answers::Value(pattern, to) => Revert::Value(Change::Regex(pattern.clone(), to.clone())),
    }));
    Ok(true)
}

/// The name after the rule; `None` when the rule does not match.
fn replaced(rule: &NameMatch, to: &str, name: &str) -> Option<String> {
    match rule {
        NameMatch::Exact(from) => (name == from).then(|| to.to_owned()),
        NameMatch::Prefix(from) => Some(format!("{to}{}", name.strip_prefix(&from[..])?)),
        NameMatch::Suffix(from) => Some(format!("{}{to}", name.strip_suffix(&from[..])?)),
        NameMatch::Substring(from) => name.contains(&from[..]).then(|| name.replace(&from[..], to)),
        NameMatch::Regex(pattern) => fill(pattern, to, name),
    }
}

/// `to` with `{0}`, `{1}` … filled from what `pattern` matches in `name`.
fn fill(pattern: &Regex, to: &str, name: &str) -> Option<String> {
    let captures = pattern.captures(name)?;
    let mut filled = to.to_owned();
    for (index, group) in captures.iter().enumerate() {
        filled = filled.replace(&format!("{{{index}}}"), group.map_or("", |group| group.as_str()));
    }
    Some(filled)
}

impl Change {
    fn apply(&self, name: &str) -> Option<String> {
        match self {
            Self::Remap(from, to) => {
                let before = name.strip_suffix(&from[..])?;
                (before.is_empty() || before.ends_with('.')).then(|| format!("{before}{to}"))
            }
            Self::Suffix(from, to) => Some(format!("{}{to}", name.strip_suffix(&from[..])?)),
            Self::Regex(pattern, to) => fill(pattern, to, name),
        }
    }

    /// The wire name after the change; the same when it does not match, or would be no name.
    fn apply_wire(&self, wire: &[u8]) -> Vec<u8> {
        let text = super::ask::name_text(wire).to_ascii_lowercase();
        let changed = self.apply(&text).filter(|_| !text.contains('\\'));
        let name = changed.and_then(|changed| changed.parse::<Name>().ok());
        name.map_or_else(|| wire.to_vec(), |name| name.as_wire().to_vec())
    }
}

impl Reverts {
    /// Changes the answer.
    pub(super) fn apply(&self, response: &mut Response) {
        for revert in self.0.iter().rev() {
            if let Revert::Rcode(from, to) = revert
                && from.is_none_or(|from| from == response.rcode)
            {
                response.rcode = *to;
            }
        }
        let sections = [&mut response.answers, &mut response.authority, &mut response.additional];
        for record in sections.into_iter().flatten() {
            // The last change of the question is the first to be taken back.
            self.0.iter().rev().for_each(|revert| revert.apply(record));
        }
    }
}

impl Revert {
    fn apply(&self, record: &mut Record) {
        match self {
            Self::Owner(change) => record.owner = change.apply_wire(&record.owner),
            Self::Rcode(..) => {}
            Self::Ttl(low, high) => record.ttl = record.ttl.clamp(*low, *high),
            Self::Value(change) => {
                let Some(start) = name_start(record.kind).filter(|start| *start < record.data.len()) else {
                    return;
                };
                let end = start + name_length(&record.data[start..]);
                let name = change.apply_wire(&record.data[start..end]);
                let mut data = record.data[..start].to_vec();
                data.extend(name);
                data.extend(&record.data[end..]);
                record.data = data;
            }
        }
    }
}

/// Where the name in the data of a type begins.
fn name_start(kind: u16) -> Option<usize> {
    match kind {
        rtype::CNAME | rtype::NS | rtype::PTR | rtype::DNAME | rtype::SOA => Some(0),
        rtype::MX => Some(2),
        rtype::SRV => Some(6),
        _ => None,
    }
}

fn name_length(data: &[u8]) -> usize {
    let length: usize = crate::name::labels(data).map(|label| label.len() + 1).sum();
    (length + 1).min(data.len())
}
