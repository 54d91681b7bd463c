//! Ports of a Service with virtual IPs, as SRV records need them: packed, so that those of nearly every Service stand in
//! the Service's own records and a question costs no further cache miss.

use std::fmt;

use services::{Protocol, SlicePort};

use crate::name::LABEL_BYTES_MAX;

/// Bytes of packed ports that are kept in place: three with usual names.
const BYTES_IN_PLACE: usize = 30;
/// Bytes of a packed port in front of its name: number, protocol, length of the name.
const FIXED_BYTES: usize = 4;

/// A port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port<'a> {
    /// Lower case, empty when unnamed.
    pub(crate) name: &'a [u8],
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

impl<'a> From<&'a SlicePort> for Port<'a> {
    fn from(port: &'a SlicePort) -> Self {
        Self { name: port.name.as_bytes(), protocol: port.protocol, number: port.port }
    }
}

/// Some ports, in the order of the Service.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Ports {
    Few(u8, [u8; BYTES_IN_PLACE]),
    Many(Box<[u8]>),
}

impl Default for Ports {
    fn default() -> Self {
        Self::Few(0, [0; BYTES_IN_PLACE])
    }
}

impl<'a> FromIterator<Port<'a>> for Ports {
    fn from_iter<T: IntoIterator<Item = Port<'a>>>(ports: T) -> Self {
        let mut packed = Vec::new();
        ports.into_iter().for_each(|port| pack(&mut packed, port));
        let mut place = [0; BYTES_IN_PLACE];
        match (u8::try_from(packed.len()), place.get_mut(..packed.len())) {
            (Ok(length), Some(start)) => {
                start.copy_from_slice(&packed);
                Self::Few(length, place)
            }
            _ => Self::Many(packed.into()),
        }
    }
}

impl Ports {
    /// All ports.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Port<'_>> + Clone {
        let mut rest = match self {
            Self::Few(length, bytes) => &bytes[..usize::from(*length)],
            Self::Many(bytes) => bytes,
        };
        std::iter::from_fn(move || {
            let (fixed, after) = rest.split_first_chunk::<FIXED_BYTES>()?;
            let [high, low, protocol, length] = *fixed;
            let (name, after) = after.split_at_checked(usize::from(length))?;
            rest = after;
            Some(Port { name, protocol: read_protocol(protocol), number: u16::from_be_bytes([high, low]) })
        })
    }
}

/// A name that is no label cannot be asked for, and counts as none.
fn pack(packed: &mut Vec<u8>, port: Port<'_>) {
    let name = if port.name.len() > LABEL_BYTES_MAX { &[] } else { port.name };
    packed.extend(port.number.to_be_bytes());
    packed.extend([write_protocol(port.protocol), u8::try_from(name.len()).unwrap_or(0)]);
    packed.extend(name);
}

fn write_protocol(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 0,
        Protocol::Udp => 1,
        Protocol::Sctp => 2,
    }
}

fn read_protocol(byte: u8) -> Protocol {
    match byte {
        0 => Protocol::Tcp,
        1 => Protocol::Udp,
        _ => Protocol::Sctp,
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_ports_read_as_they_were() {
        let port = |name, protocol, number| Port { name, protocol, number };
        let long = [b'a'; LABEL_BYTES_MAX];
        for list in [
            vec![],
            vec![port(b"", Protocol::Tcp, 80)],
            vec![port(b"dns", Protocol::Udp, 53), port(b"dns-tcp", Protocol::Tcp, 53)],
            vec![port(&long, Protocol::Sctp, 65_535), port(b"", Protocol::Udp, 1)],
        ] {
            let ports: Ports = list.iter().copied().collect();
            assert_eq!(ports.iter().collect::<Vec<_>>(), list);
        }
        let ports: Ports = [port(&[b'a'; 64], Protocol::Tcp, 80)].into_iter().collect();
        assert_eq!(ports.iter().collect::<Vec<_>>(), [port(b"", Protocol::Tcp, 80)]);
    }

    #[test]
    fn usual_ports_are_kept_in_place() {
        let port = |name: &'static [u8]| Port { name, protocol: Protocol::Tcp, number: 80 };
        let ports: Ports = [port(b"http"), port(b"https"), port(b"metrics")].into_iter().collect();
        assert!(matches!(ports, Ports::Few(..)));
        assert_eq!(size_of::<Ports>(), 32);
    }
}
