//! Endpoints by number, in as few bytes as they take: there are as many as in the whole cluster, and the forwarding
//! table has them, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Stands for a number without an endpoint: a fault.
const HOLE: u8 = 0;
const V4: u8 = 4;
const V6: u8 = 6;

/// The endpoints of a list in the order of their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbered {
    /// One after the other: what it is, and unless it is a hole address and port. `None` without any.
    bytes: Option<Box<[u8]>>,
}

impl Numbered {
    pub(in crate::nftables) const EMPTY: Self = Self { bytes: None };

    pub(in crate::nftables) fn is_empty(&self) -> bool {
        self.bytes.is_none()
    }

    pub(in crate::nftables) fn iter(&self) -> impl Iterator<Item = Option<SocketAddr>> {
        let mut rest = self.bytes.as_deref().unwrap_or_default();
        std::iter::from_fn(move || {
            let (&kind, behind) = rest.split_first()?;
            let (endpoint, behind) = match kind {
                V4 => behind
                    .split_first_chunk::<4>()
                    .map(|(address, rest)| (Ipv4Addr::from(*address).into(), rest)),
                V6 => behind
                    .split_first_chunk::<16>()
                    .map(|(address, rest)| (Ipv6Addr::from(*address).into(), rest)),
                _ => None,
            }
            .and_then(|(address, rest): (IpAddr, _)| {
                let (port, rest) = rest.split_first_chunk()?;
                Some((SocketAddr::new(address, u16::from_be_bytes(*port)), rest))
            })
            .map_or((None, behind), |(endpoint, rest)| (Some(endpoint), rest));
            rest = behind;
            Some(endpoint)
        })
    }
}

impl FromIterator<Option<SocketAddr>> for Numbered {
    fn from_iter<I: IntoIterator<Item = Option<SocketAddr>>>(endpoints: I) -> Self {
        let mut bytes = Vec::new();
        for endpoint in endpoints {
            let Some(endpoint) = endpoint else {
                bytes.push(HOLE);
                continue;
            };
            match endpoint.ip() {
                IpAddr::V4(address) => {
                    bytes.push(V4);
                    bytes.extend_from_slice(&address.octets());
                }
                IpAddr::V6(address) => {
                    bytes.push(V6);
                    bytes.extend_from_slice(&address.octets());
                }
            }
            bytes.extend_from_slice(&endpoint.port().to_be_bytes());
        }
        Self { bytes: (!bytes.is_empty()).then(|| bytes.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_comes_out() {
        let endpoints: Vec<Option<SocketAddr>> = ["10.0.0.1:80", "", "[fd00::1]:65535", "", "255.0.4.6:1"]
            .map(|text| (!text.is_empty()).then(|| text.parse().unwrap()))
            .to_vec();
        for length in 0..=endpoints.len() {
            let numbered: Numbered = endpoints[..length].iter().copied().collect();
            assert_eq!(numbered.iter().collect::<Vec<_>>(), endpoints[..length]);
            assert_eq!(numbered.is_empty(), length == 0);
        }
        assert_eq!(Numbered::EMPTY, Numbered::default());
    }
}
