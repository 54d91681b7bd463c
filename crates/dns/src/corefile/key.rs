//! The keys of a server block: `[dns://]zone[:port]`, where a zone may be a network in CIDR form.

use std::net::IpAddr;

use super::config::Key;
use super::error::CorefileError;
use super::token::Token;
use crate::name::Name;

/// Reverse zones that one network may stand for.
const ZONES_MAX: u32 = 256;

/// The keys that one word stands for: several when it is a network that ends between two labels.
pub(super) fn read_key(token: &Token, default_port: u16) -> Result<Vec<Key>, CorefileError> {
    let text = match token.text.split_once("://") {
        None => &token.text[..],
        Some(("dns", rest)) => rest,
        Some((scheme, _)) => {
            return Err(token.unexpected(format!(
                "plain DNS (dns:// or no scheme): {scheme}:// is not served here, put a proxy in front for it"
            )));
        }
    };
    let (zone, port) = match text.rsplit_once(':') {
        Some((zone, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !is_network(text) => {
            let port =
                port.parse().map_err(|_| token.unexpected("a port from 0 to 65535 behind the colon"))?;
            (zone, port)
        }
        Some((_, "")) => return Err(token.unexpected("a port behind the colon")),
        _ => (text, default_port),
    };
    let zone = if zone.is_empty() { "." } else { zone };
    let zones = zones_of(token, zone)?;
    Ok(zones.into_iter().map(|zone| Key { zone, port }).collect())
}

/// The zones that one argument stands for.
pub(super) fn read_zone(token: &Token) -> Result<Vec<Name>, CorefileError> {
    Ok(read_key(token, 0)?.into_iter().map(|key| key.zone).collect())
}

fn zones_of(token: &Token, zone: &str) -> Result<Vec<Name>, CorefileError> {
    if let Some((address, bits)) = network(zone) {
        return reverse_zones(token, address, bits);
    }
    if zone.contains([':', '/', '*', '?', '%', '@', '"']) {
        return Err(token.unexpected("a zone such as example.org, or a network such as 10.0.0.0/8"));
    }
    Ok(vec![zone.parse().map_err(|error| token.unexpected(format!("a zone ({error})")))?])
}

fn is_network(text: &str) -> bool {
    network(text).is_some()
}

fn network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

/// The reverse zones of a network, each ending where a label does: at 8 bits of IPv4, at 4 of IPv6.
fn reverse_zones(token: &Token, address: IpAddr, bits: u32) -> Result<Vec<Name>, CorefileError> {
    let (number, width, step) = match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32, 8),
        IpAddr::V6(address) => (u128::from(address), 128, 4),
    };
    let whole = bits.div_ceil(step) * step;
    let count = 1_u32 << (whole - bits);
    debug_assert!(count <= ZONES_MAX, "a label has at most eight bits");
    let first = number.checked_shr(width - bits).unwrap_or(0) << (whole - bits);
    (0..count)
        .map(|index| {
            let mut rest = first + u128::from(index);
            let mut text = String::new();
            for _ in 0..whole / step {
                let digit = rest & ((1 << step) - 1);
                rest >>= step;
                text += &if step == 8 { format!("{digit}.") } else { format!("{digit:x}.") };
            }
            text += if step == 8 { "in-addr.arpa" } else { "ip6.arpa" };
            text.parse().map_err(|error| token.unexpected(format!("a network ({error})")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::token::tokens;

    fn keys(text: &str) -> Result<Vec<String>, String> {
        let token = tokens(text, "f").unwrap().remove(0);
        let keys = read_key(&token, 53).map_err(|error| error.to_string())?;
        Ok(keys.iter().map(|key| format!("{}:{}", key.zone, key.port)).collect())
    }

    #[test]
    fn zones_ports_schemes_and_networks() {
        for (text, expected) in [
            (".:1053", vec![".:1053"]),
            (".", vec![".:53"]),
            (":5353", vec![".:5353"]),
            ("dns://Example.org", vec!["example.org.:53"]),
            ("10.0.0.0/8", vec!["10.in-addr.arpa.:53"]),
            ("10.1.2.0/23:54", vec!["2.1.10.in-addr.arpa.:54", "3.1.10.in-addr.arpa.:54"]),
            ("2001:db8::/32", vec!["8.b.d.0.1.0.0.2.ip6.arpa.:53"]),
            ("2001:db8::/32:1053", vec!["8.b.d.0.1.0.0.2.ip6.arpa.:1053"]),
            ("0.0.0.0/0", vec!["in-addr.arpa.:53"]),
        ] {
            assert_eq!(keys(text).unwrap(), expected, "{text}");
        }
        for text in ["tls://.", ".:", ".:99999", "a..b", "10.0.0.0/33", "a/b"] {
            assert!(keys(text).is_err(), "{text}");
        }
    }
}
