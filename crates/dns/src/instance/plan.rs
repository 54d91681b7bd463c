//! Which server blocks listen where: blocks that share an address and a port share a server.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::{InstanceError, addresses};
use crate::chain::{Chain, ChainError, Surroundings};
use crate::corefile::{Bind, Block, Config};

/// Addresses with the blocks that are served there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) addresses: Vec<SocketAddr>,
    /// As CoreDNS names the server, without its scheme: `:53`, `10.0.0.10:53`.
    label: String,
    port: u16,
    /// Indices of the blocks.
    blocks: Vec<usize>,
}

impl Group {
    /// True when both listen on the same addresses, so that one can take the other's sockets.
    pub(super) fn is_same_place(&self, other: &Self) -> bool {
        self.addresses == other.addresses
    }

    /// The chain of its blocks.
    pub(super) fn chain(&self, config: &Config, around: &Surroundings) -> Result<Arc<Chain>, ChainError> {
        let blocks: Vec<Block> =
            self.blocks.iter().map(|index| self.own_keys(&config.blocks[*index])).collect();
        let blocks: Vec<&Block> = blocks.iter().collect();
        Chain::new(&blocks, &self.label, around)
    }

    /// The most sockets that one of its blocks wants for each address (`multisocket`).
    pub(super) fn sockets(&self, config: &Config) -> Option<usize> {
        self.blocks.iter().filter_map(|index| config.blocks[*index].sockets).max()
    }

    /// The block with its keys for this port only.
    fn own_keys(&self, block: &Block) -> Block {
        let mut block = block.clone();
        block.keys.retain(|key| key.port == self.port);
        block
    }

    /// Server, zone and name of every plugin.
    pub(super) fn plugins(&self, config: &Config) -> Vec<(String, String, &'static str)> {
        let mut plugins = Vec::new();
        for block in self.blocks.iter().map(|index| &config.blocks[*index]) {
            for key in block.keys.iter().filter(|key| key.port == self.port) {
                let entry = |plugin| (format!("dns://{}", self.label), key.zone.to_string(), plugin);
                plugins.extend(handlers(block).into_iter().map(entry));
            }
        }
        plugins
    }
}

/// The plugins of a block that queries pass; `health`, `ready`, `reload` and `bind` are none in CoreDNS either.
fn handlers(block: &Block) -> Vec<&'static str> {
    let present = [
        ("bufsize", block.bufsize.is_some()),
        ("prometheus", block.prometheus.is_some()),
        ("errors", block.errors.is_some()),
        ("log", !block.log.is_empty()),
        ("local", block.local),
        ("any", block.any),
        ("loadbalance", block.loadbalance),
        ("header", !block.header.is_empty()),
        ("minimal", block.minimal),
        ("rewrite", !block.rewrite.is_empty()),
        ("autopath", block.autopath.is_some()),
        ("cache", block.cache.is_some()),
        ("template", !block.template.is_empty()),
        ("hosts", block.hosts.is_some()),
        ("kubernetes", block.kubernetes.is_some()),
        ("loop", block.detect_loops),
        ("forward", !block.forward.is_empty()),
    ];
    present.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect()
}

/// The groups of a Corefile. `listen` is where blocks without `bind` listen; empty: everywhere.
pub(super) fn groups(config: &Config, listen: &[IpAddr]) -> Result<Vec<Group>, InstanceError> {
    if config.blocks.is_empty() {
        return Err(InstanceError::Empty);
    }
    let machine = addresses::of_this_machine().map_err(InstanceError::Addresses)?;
    let everywhere: Vec<IpAddr> = if listen.is_empty() {
        machine.iter().map(|(_, address)| *address).collect()
    } else {
        listen.to_vec()
    };
    // Port, and the address when it was named, with the blocks there.
    let mut places: BTreeMap<(u16, Option<IpAddr>), Vec<usize>> = BTreeMap::new();
    for (index, block) in config.blocks.iter().enumerate() {
        let bound = bound_addresses(block, &machine, &everywhere)?;
        let mut ports: Vec<u16> = block.keys.iter().map(|key| key.port).collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            match &bound {
                None => places.entry((port, None)).or_default().push(index),
                Some(addresses) => {
                    addresses
                        .iter()
                        .for_each(|address| places.entry((port, Some(*address))).or_default().push(index));
                }
            }
        }
    }
    Ok(merge(&places, &everywhere))
}

/// Addresses that have the same blocks become one group.
fn merge(places: &BTreeMap<(u16, Option<IpAddr>), Vec<usize>>, everywhere: &[IpAddr]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for ((port, place), blocks) in places {
        let Some(address) = place else {
            // Addresses that a block is bound to are that block's alone.
            let free = everywhere.iter().filter(|address| !places.contains_key(&(*port, Some(**address))));
            let addresses = free.map(|address| SocketAddr::new(*address, *port)).collect();
            groups.push(Group { addresses, label: format!(":{port}"), port: *port, blocks: blocks.clone() });
            continue;
        };
        let address = SocketAddr::new(*address, *port);
        let same = groups
            .iter_mut()
            .find(|group| group.port == *port && group.blocks == *blocks && !group.label.starts_with(':'));
        match same {
            Some(group) => group.addresses.push(address),
            None => groups.push(Group {
                addresses: vec![address],
                label: address.to_string(),
                port: *port,
                blocks: blocks.clone(),
            }),
        }
    }
    groups.retain(|group| !group.addresses.is_empty());
    groups
}

/// The addresses of `bind`, without those of its `except`; `None` without `bind`.
fn bound_addresses(
    block: &Block,
    machine: &[(String, IpAddr)],
    everywhere: &[IpAddr],
) -> Result<Option<Vec<IpAddr>>, InstanceError> {
    if block.bind.is_empty() {
        return Ok(None);
    }
    let resolve = |places: &[Bind]| {
        let mut addresses = Vec::new();
        for place in places {
            match place {
                Bind::Address(address) if address.is_unspecified() => {
                    addresses.extend(everywhere.iter().filter(|one| one.is_ipv4() || address.is_ipv6()));
                }
                Bind::Address(address) => addresses.push(*address),
                Bind::Interface(name) => {
                    let own = machine.iter().filter(|(interface, _)| interface == name);
                    let before = addresses.len();
                    addresses.extend(own.map(|(_, address)| *address));
                    if addresses.len() == before {
                        let (position, name) = (block.position.clone(), name.clone());
                        return Err(InstanceError::Interface { position, name });
                    }
                }
            }
        }
        Ok(addresses)
    };
    let except = resolve(&block.bind_except)?;
    let mut addresses = resolve(&block.bind)?;
    addresses.retain(|address| !except.contains(address));
    addresses.sort_unstable();
    addresses.dedup();
    Ok(Some(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefile::{NoSources, read};

    fn shown(text: &str) -> Vec<String> {
        let config = read(text, "Corefile", 53, &NoSources).unwrap();
        let listen = ["10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        let groups = groups(&config, &listen).unwrap();
        groups
            .iter()
            .map(|group| {
                let addresses: Vec<_> = group.addresses.iter().map(ToString::to_string).collect();
                format!("{} {} {:?}", group.label, addresses.join(" "), group.blocks)
            })
            .collect()
    }

    #[test]
    fn blocks_that_share_an_address_share_a_server() {
        assert_eq!(
            shown(".:53 {\n}\na.org:53 b.org:54 {\n}\n"),
            [":53 10.0.0.1:53 10.0.0.2:53 [0, 1]", ":54 10.0.0.1:54 10.0.0.2:54 [1]"]
        );
        assert_eq!(
            shown(".:53 {\n}\n.:54 {\n bind 10.0.0.9 10.0.0.8\n}\na.org {\n bind 10.0.0.2\n}\n"),
            [":53 10.0.0.1:53 [0]", "10.0.0.2:53 10.0.0.2:53 [2]", "10.0.0.8:54 10.0.0.8:54 10.0.0.9:54 [1]"]
        );
    }
}
