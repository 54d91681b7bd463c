//! The addresses of this machine. A socket is bound to one address each, so that an answer leaves from the address that was
//! asked; "every address" is a list, made when the Corefile is read.

use std::net::{IpAddr, Ipv6Addr};

use nix::ifaddrs::getifaddrs;

/// Addresses with the names of their interfaces. Link-local ones are left out: nobody is given them as a resolver.
pub(super) fn of_this_machine() -> nix::Result<Vec<(String, IpAddr)>> {
    let mut addresses: Vec<(String, IpAddr)> = Vec::new();
    for interface in getifaddrs()? {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        let Some(address) = v4.or_else(v6).filter(|address| !is_link_local(*address)) else { continue };
        if !addresses.iter().any(|(_, known)| *known == address) {
            addresses.push((interface.interface_name, address));
        }
    }
    Ok(addresses)
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => is_link_local_v6(address),
    }
}

fn is_link_local_v6(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}
