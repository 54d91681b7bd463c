//! Reads the `nameserver` lines of a `resolv.conf`, to find the resolvers that the host itself uses.
//!
//! Options are the host's business; its search list matters to `autopath` alone, for names reach us complete.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use crate::name::Name;

/// Port of DNS.
const PORT: u16 = 53;
/// What systemd-resolved keeps its real upstreams in, when `/etc/resolv.conf` only names its stub.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
/// Most resolvers taken from a file, as CoreDNS's `forward`.
const UPSTREAMS_MAX: usize = 15;

/// The resolvers that `text` names, in order, each once. `own` are addresses that we answer on ourselves: asking them
/// would be a loop, so they are left out.
#[must_use]
pub fn parse(text: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    let mut upstreams = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let Some(address) = words.next().and_then(read_address) else { continue };
        if !own.contains(&address.ip()) && !upstreams.contains(&address) && upstreams.len() < UPSTREAMS_MAX {
            upstreams.push(address);
        }
    }
    upstreams
}

/// The names of the last `search` line of `text`.
pub(crate) fn search_list(text: &str) -> Vec<Name> {
    let mut lists = text.lines().filter_map(|line| line.strip_prefix("search")?.strip_prefix([' ', '\t']));
    let names = lists.next_back().unwrap_or_default().split_ascii_whitespace();
    names.filter_map(|name| name.parse().ok()).collect()
}

/// An address, with an interface's index behind `%` when it is link-local. Interface names are not resolved here.
fn read_address(text: &str) -> Option<SocketAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, PORT));
    }
    format!("[{text}]:{PORT}").parse().ok()
}

/// The host's resolvers: those of `/etc/resolv.conf`, or of systemd-resolved's file when only its stub is named. Empty
/// when there is none: names outside of the cluster are then SERVFAIL at once.
#[must_use]
pub fn host_upstreams(own: &[IpAddr]) -> Vec<SocketAddr> {
    upstreams_of(Path::new("/etc/resolv.conf"), Path::new(RESOLVED), own)
}

fn upstreams_of(file: &Path, resolved: &Path, own: &[IpAddr]) -> Vec<SocketAddr> {
    let read = |path: &Path| parse(&std::fs::read_to_string(path).unwrap_or_default(), own);
    let upstreams = read(file);
    let stub = [IpAddr::from([127, 0, 0, 53]), IpAddr::from([127, 0, 0, 54])];
    if !upstreams.is_empty() && upstreams.iter().all(|upstream| stub.contains(&upstream.ip())) {
        let real = read(resolved);
        if !real.is_empty() {
            return real;
        }
    }
    upstreams
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nameservers_in_order_without_our_own() {
        let text = "# a comment\nsearch example.com\nnameserver 192.0.2.1\nnameserver  10.96.0.10 \nnameserver ::1\n\
                    nameserver 192.0.2.1\nnameserver nonsense\nnameserver\noptions ndots:5\nnameserver fe80::1%2\n";
        let own = ["10.96.0.10".parse().unwrap()];
        let expected: Vec<SocketAddr> =
            ["192.0.2.1:53", "[::1]:53", "[fe80::1%2]:53"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(parse(text, &own), expected);
    }

    #[test]
    fn a_missing_file_names_nobody() {
        let missing = Path::new("/nonexistent/resolv.conf");
        assert_eq!(upstreams_of(missing, missing, &[]), []);
    }
}
