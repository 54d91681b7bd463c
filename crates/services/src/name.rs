//! The keys of the model.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use triomphe::ThinArc;

/// Namespace and name of a Service or a slice, as one text `namespace/name` behind a thin pointer: every frontend and
/// every index has some. Cheap to clone; orders by namespace, then name.
#[derive(Clone)]
pub struct ServiceName(ThinArc<usize, u8>);

impl ServiceName {
    /// The key of `namespace/name`.
    pub fn new(namespace: impl AsRef<str>, name: impl AsRef<str>) -> Self {
        let (namespace, name) = (namespace.as_ref(), name.as_ref());
        let text = [namespace, "/", name].concat();
        Self(ThinArc::from_header_and_slice(namespace.len(), text.as_bytes()))
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        text(self.parts().0)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        text(self.parts().1)
    }

    /// Namespace and name, which compare like the texts that they are.
    fn parts(&self) -> (&[u8], &[u8]) {
        let (bytes, namespace_bytes) = (&self.0.slice, self.0.header.header);
        (&bytes[..namespace_bytes], &bytes[namespace_bytes + 1..])
    }
}

/// The bytes are from texts, cut where one of them ended.
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

impl PartialEq for ServiceName {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr()) || self.parts() == other.parts()
    }
}

impl Eq for ServiceName {}

impl PartialOrd for ServiceName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl Hash for ServiceName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.slice.hash(state);
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text(&self.0.slice))
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", text(&self.0.slice))
    }
}

/// Transport protocol of a port, as Kubernetes names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP, the default.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Parses Kubernetes' upper-case form; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "TCP" => Some(Self::Tcp),
            "UDP" => Some(Self::Udp),
            "SCTP" => Some(Self::Sctp),
            _ => None,
        }
    }

    /// Lower-case name: `tcp`, `udp`, `sctp`, as in dumps, scenarios and SRV names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    /// IANA protocol number (6, 17, 132), as in an IP header and in nftables' `meta l4proto`.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
