//! `hosts`: addresses and names from a file in the form of `/etc/hosts`, and from the Corefile.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::ask::{Ask, Reply, record, zone_of};
use crate::corefile;
use crate::message::records::Record;
use crate::message::{QueryName, rtype};
use crate::name::Name;
use crate::zone::{ReverseName, Suffix};

const PLUGIN: &str = "hosts";

/// What the lines say.
#[derive(Debug, Default)]
struct Table {
    addresses: HashMap<Vec<u8>, Vec<IpAddr>>,
    names: HashMap<IpAddr, Vec<Name>>,
}

/// A file's time and size: when either differs, it is read again.
type Stamp = Option<(SystemTime, u64)>;

/// One `hosts`.
pub(super) struct Hosts {
    config: corefile::Hosts,
    state: Mutex<(Arc<Table>, Stamp, Instant)>,
}

impl Hosts {
    pub(super) fn new(config: &corefile::Hosts) -> Self {
        let stamp = stamp(config);
        if stamp.is_none() {
            tracing::warn!(file = %config.file.display(), "the hosts file is not there");
        }
        let table = Arc::new(read(config));
        Self { config: config.clone(), state: Mutex::new((table, stamp, Instant::now())) }
    }

    /// The answer, or `None` for the next plugin.
    pub(super) fn answer(&self, ask: &Ask) -> Option<Reply> {
        let table = self.table();
        if ask.kind == rtype::PTR {
            let names = reverse(&ask.name).and_then(|address| table.names.get(&address))?;
            let pointer =
                |name: &Name| record(&ask.name, rtype::PTR, self.config.ttl, name.as_wire().to_vec());
            return Some(Reply::records(names.iter().map(pointer).collect(), PLUGIN));
        }
        zone_of(&ask.name, &self.config.zones)?;
        let Some(addresses) = table.addresses.get(&ask.name) else {
            if zone_of(&ask.name, &self.config.fallthrough).is_some() {
                return None;
            }
            // There is no SOA record to deny it with, so CoreDNS says SERVFAIL.
            return Some(Reply::failure("not in the hosts file, and no fallthrough", PLUGIN));
        };
        let answers = addresses.iter().filter_map(|address| self.address(ask, *address)).collect();
        Some(Reply::records(answers, PLUGIN))
    }

    /// True when a line speaks about a name that `wanted` wants.
    pub(super) fn any(&self, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.table().addresses.keys().any(|name| wanted(name))
    }

    /// Names with their addresses, both ways.
    pub(super) fn len(&self) -> usize {
        let table = self.table();
        table.addresses.values().map(Vec::len).chain(table.names.values().map(Vec::len)).sum()
    }

    fn address(&self, ask: &Ask, address: IpAddr) -> Option<Record> {
        match (address, ask.kind) {
            (IpAddr::V4(address), rtype::A) => {
                Some(record(&ask.name, rtype::A, self.config.ttl, address.octets().to_vec()))
            }
            (IpAddr::V6(address), rtype::AAAA) => {
                Some(record(&ask.name, rtype::AAAA, self.config.ttl, address.octets().to_vec()))
            }
            _ => None,
        }
    }

    /// The table, read again when the file has changed and was not looked at for a while.
    fn table(&self) -> Arc<Table> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.config.reload.is_zero() && state.2.elapsed() >= self.config.reload {
            state.2 = Instant::now();
            let new = stamp(&self.config);
            if new != state.1 {
                (state.0, state.1) = (Arc::new(read(&self.config)), new);
            }
        }
        Arc::clone(&state.0)
    }
}

fn stamp(config: &corefile::Hosts) -> Stamp {
    let data = std::fs::metadata(&config.file).ok()?;
    Some((data.modified().ok()?, data.len()))
}

fn read(config: &corefile::Hosts) -> Table {
    let mut table = Table::default();
    // A file that is not there has no lines: it may come later.
    let text = std::fs::read_to_string(&config.file).unwrap_or_default();
    for line in text.lines().chain(config.inline.iter().map(String::as_str)) {
        read_line(&mut table, line, config);
    }
    table
}

/// An address and its names; what cannot be read is left out, as everywhere where such files are read.
fn read_line(table: &mut Table, line: &str, config: &corefile::Hosts) {
    let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
    // Interface names behind `%` mean nothing to others.
    let address = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
    let Some(address) = address else { return };
    for name in words.filter_map(|word| word.parse::<Name>().ok()) {
        if zone_of(name.as_wire(), &config.zones).is_none() {
            continue;
        }
        let addresses = table.addresses.entry(name.as_wire().to_vec()).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
        if !config.no_reverse {
            table.names.entry(address).or_default().push(name);
        }
    }
}

/// The address that a reverse name spells.
pub(super) fn reverse(name: &[u8]) -> Option<IpAddr> {
    let name = QueryName::read(name, 0)?;
    ["in-addr.arpa", "ip6.arpa"].iter().find_map(|zone| {
        let suffix = Suffix::new(zone, false).ok()?;
        let own = name.label_count().checked_sub(suffix.labels)?;
        if name.suffix(own) != suffix.name().as_wire() {
            return None;
        }
        match ReverseName::read(&name, suffix.reversed?)? {
            ReverseName::Address(address) => Some(address),
            ReverseName::Range(..) => None,
        }
    })
}
