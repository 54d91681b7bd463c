//! Domain names in wire form: lower case, uncompressed, with the root label.
//!
//! Names of the zone are kept this way, so that a question is compared by bytes. Names of queries never become a
//! [`Name`]: they stay in the query's buffer ([`crate::message::QueryName`]).

use std::fmt;
use std::str::FromStr;

/// Longest name in wire form, root label included (RFC 1035 §2.3.4).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest label.
pub const LABEL_BYTES_MAX: usize = 63;

/// Why a text is no domain name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Two dots in a row, or one at the start.
    #[error("domain name {0:?} has an empty label: remove the extra dot")]
    EmptyLabel(String),
    /// A label of more than 63 bytes.
    #[error("domain name {0:?} has a label longer than 63 bytes")]
    LongLabel(String),
    /// More than 255 bytes in wire form.
    #[error("domain name {0:?} is longer than 255 bytes")]
    Long(String),
}

/// A domain name: wire form, lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The name of everything.
    #[must_use]
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// The wire form, ending in the root label.
    #[must_use]
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// Number of labels without the root.
    #[must_use]
    pub fn label_count(&self) -> usize {
        labels(&self.0).count()
    }

    /// True when this name is `ancestor` or lies below it.
    #[must_use]
    pub fn is_within(&self, ancestor: &Self) -> bool {
        let (own, other) = (self.label_count(), ancestor.label_count());
        own >= other && skip_labels(&self.0, own - other) == &*ancestor.0
    }
}

impl FromStr for Name {
    type Err = NameError;

    /// Parses `a.b.c`, with or without the final dot. Escapes are not known: no Kubernetes name needs one.
    fn from_str(text: &str) -> Result<Self, NameError> {
        let mut wire = Vec::with_capacity(text.len() + 2);
        let trimmed = text.strip_suffix('.').unwrap_or(text);
        for label in trimmed.split('.').filter(|_| !trimmed.is_empty()) {
            let length = u8::try_from(label.len()).unwrap_or(u8::MAX);
            match usize::from(length) {
                0 => return Err(NameError::EmptyLabel(text.into())),
                1..=LABEL_BYTES_MAX => wire.push(length),
                _ => return Err(NameError::LongLabel(text.into())),
            }
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        if wire.len() > NAME_BYTES_MAX {
            return Err(NameError::Long(text.into()));
        }
        Ok(Self(wire.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wire(f, &self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_wire(f, &self.0)
    }
}

/// The labels of an uncompressed wire name that was checked before; stops at the root or at the end of the bytes.
pub(crate) fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&length, rest) = wire.split_first()?;
        if length == 0 || rest.len() < usize::from(length) {
            return None;
        }
        let (label, rest) = rest.split_at(usize::from(length));
        wire = rest;
        Some(label)
    })
}

/// The name without its first `count` labels.
fn skip_labels(mut wire: &[u8], count: usize) -> &[u8] {
    for _ in 0..count {
        let Some(&length) = wire.first() else { break };
        wire = wire.get(usize::from(length) + 1..).unwrap_or_default();
    }
    wire
}

/// Writes a wire name as text with a final dot; bytes that are not plain text as `\DDD` (RFC 4343 §2.1).
pub(crate) fn write_wire(f: &mut impl fmt::Write, wire: &[u8]) -> fmt::Result {
    let mut empty = true;
    for label in labels(wire) {
        empty = false;
        for &byte in label {
            match byte {
                b'.' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                0x21..=0x7e => f.write_char(char::from(byte))?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
        f.write_char('.')?;
    }
    if empty { f.write_char('.') } else { Ok(()) }
}

/// The label as bytes with its length in front; `None` when it cannot be a label.
pub(crate) fn push_label(wire: &mut Vec<u8>, label: &str) -> Option<()> {
    let length = u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?;
    wire.push(length);
    wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_wire_agree() {
        for (text, wire, shown) in [
            ("cluster.local.", &b"\x07cluster\x05local\0"[..], "cluster.local."),
            ("ClUsTeR.local", b"\x07cluster\x05local\0", "cluster.local."),
            (".", b"\0", "."),
            ("", b"\0", "."),
            ("_http._tcp.a", b"\x05_http\x04_tcp\x01a\0", "_http._tcp.a."),
        ] {
            let name: Name = text.parse().unwrap();
            assert_eq!((name.as_wire(), name.to_string().as_str()), (wire, shown), "{text}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for text in ["a..b", ".a", &"x".repeat(64), &"abc.".repeat(64)] {
            assert!(text.parse::<Name>().is_err(), "{text}");
        }
    }

    #[test]
    fn within_means_whole_labels() {
        let within = |name: &str, of: &str| name.parse::<Name>().unwrap().is_within(&of.parse().unwrap());
        assert!(within("a.cluster.local", "cluster.local"));
        assert!(within("cluster.local", "cluster.local"));
        assert!(within("cluster.local", "."));
        assert!(!within("acluster.local", "cluster.local"));
        assert!(!within("local", "cluster.local"));
    }
}
