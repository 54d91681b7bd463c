//! `HOST:PORT` as people type it.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Bytes of a name (RFC 1035 §2.3.4).
const NAME_MAX: usize = 255;

/// Where the connection is to go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    /// A name, or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `tcp`, `udp` or `sctp`.
    pub(crate) protocol: String,
}

impl Target {
    /// Reads `podinfo:80`, `10.96.0.1:443`, `[fd00::1]:80`, and `http://podinfo/path`, which has a port by itself.
    pub(crate) fn parse(text: &str, protocol: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        let authority = rest.split('/').next().unwrap_or_default();
        let (host, port) = split(authority);
        let port = match (port, scheme) {
            (Some(port), _) => port.parse().ok().filter(|port| *port > 0).with_context(|| {
                format!("{port:?} in {text:?} is no port: say its number, HOST:PORT, as in podinfo:80")
            })?,
            (None, "http") => 80,
            (None, "https") => 443,
            (None, _) => bail!("{text:?} names no port: say HOST:PORT, as in podinfo:80"),
        };
        // Longer than any name, or with what no name and no address has: it would be asked of the API and of servers.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || host.len() > NAME_MAX || !host.bytes().all(plain) {
            bail!("{text:?} names no host: say HOST:PORT, as in podinfo:80");
        }
        Ok(Self { host: host.to_owned(), port, protocol: protocol.to_owned() })
    }

    /// The address, if the host is one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `podinfo:80`, `[fd00::1]:80`
    pub(crate) fn text(&self) -> String {
        match self.address() {
            Some(address) => SocketAddr::new(address, self.port).to_string(),
            None => format!("{}:{}", self.host, self.port),
        }
    }
}

fn split(authority: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    // More than one colon outside of brackets is an IPv6 address without a port.
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => (host, Some(port)),
        Some(_) => (authority, None),
        None => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        let read = |text: &str| Target::parse(text, "tcp").map(|target| (target.host, target.port)).ok();
        let cases = [
            ("podinfo:80", Some(("podinfo", 80))),
            ("podinfo.shop.svc:80", Some(("podinfo.shop.svc", 80))),
            ("10.96.0.1:443", Some(("10.96.0.1", 443))),
            ("[fd00::1]:80", Some(("fd00::1", 80))),
            ("http://podinfo/version", Some(("podinfo", 80))),
            ("http://podinfo:9898", Some(("podinfo", 9898))),
            ("https://podinfo", Some(("podinfo", 443))),
            ("podinfo", None),
            ("fd00::1", None),
            ("podinfo:http", None),
            ("podinfo:0", None),
            (":80", None),
            ("pod info:80", None),
            ("a%20b:80", None),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text), expected.map(|(host, port)| (host.to_owned(), port)), "{text}");
        }
    }
}
