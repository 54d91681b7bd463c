//! `autopath`: a pod's resolver walks its search list one query at a time; here the first query is answered with what the
//! walk would have come to, so that a name outside costs one query instead of four.
//!
//! CoreDNS watches every pod of the cluster to know the namespace of the one that asks. That is not needed: the first query
//! of a walk spells the namespace itself (`www.example.com.<namespace>.svc.<zone>`), and only a walk makes such a name out
//! of one that does not exist. Where the zone knows that the client's address is an endpoint of other namespaces only, the
//! name is taken as it stands. What the walk would find first is what is answered, so a Service always goes before a name
//! outside.

use std::net::IpAddr;
use std::path::Path;

use super::ask::{Ask, is_within};
use crate::corefile::{Autopath, SearchSource};
use crate::message::rtype;
use crate::name::{Name, labels};
use crate::zone::Zone;

/// The search lists of the block.
pub(super) struct Search {
    config: Autopath,
    /// What the host's or the named file's `search` line adds.
    file: Vec<Name>,
}

impl Search {
    pub(super) fn new(config: &Autopath) -> Self {
        let file = match &config.search {
            SearchSource::Kubernetes => Path::new("/etc/resolv.conf"),
            SearchSource::File(file) => file,
        };
        let text = std::fs::read_to_string(file).unwrap_or_default();
        Self { config: config.clone(), file: crate::resolv_conf::search_list(&text) }
    }

    /// The names that the walk goes through after the one that was asked, in order; empty when this is no walk.
    pub(super) fn walk(&self, ask: &Ask, zone: &Zone) -> Vec<Vec<u8>> {
        let searched = super::ask::zone_of(&ask.name, &self.config.zones).is_some();
        if !searched || !matches!(ask.kind, rtype::A | rtype::AAAA) {
            return Vec::new();
        }
        let list = match &self.config.search {
            SearchSource::Kubernetes => self.pod_search_list(ask, zone),
            SearchSource::File(_) => self.file.clone(),
        };
        let Some((first, rest)) = list.split_first() else { return Vec::new() };
        let Some(base) = base(&ask.name, first.as_wire()) else { return Vec::new() };
        let join = |end: &[u8]| [base, end].concat();
        let names = rest.iter().map(|end| join(end.as_wire())).chain([join(&[0])]);
        names.filter(|name| name.len() <= crate::name::NAME_BYTES_MAX).collect()
    }

    /// `<namespace>.svc.<zone>`, `svc.<zone>`, `<zone>`, and the host's own.
    fn pod_search_list(&self, ask: &Ask, zone: &Zone) -> Vec<Name> {
        let Some(cluster) = zone.config().forward_zone() else { return Vec::new() };
        let cluster = cluster.name();
        let Some(before) = base(&ask.name, cluster.as_wire()) else { return Vec::new() };
        let before: Vec<&[u8]> = labels(before).collect();
        let [base @ .., namespace, b"svc"] = &before[..] else { return Vec::new() };
        if base.is_empty() || !zone.has_namespace(namespace) || is_elsewhere(zone, ask.peer.ip(), namespace) {
            return Vec::new();
        }
        let namespace = String::from_utf8_lossy(namespace);
        let lists = [format!("{namespace}.svc.{cluster}"), format!("svc.{cluster}"), cluster.to_string()];
        let own = lists.iter().filter_map(|name| name.parse().ok());
        own.chain(self.file.iter().filter(|name| !is_within(name.as_wire(), cluster.as_wire())).cloned())
            .collect()
    }
}

/// True when the client is an endpoint, and of other namespaces only.
fn is_elsewhere(zone: &Zone, client: IpAddr, namespace: &[u8]) -> bool {
    let client = client.to_canonical();
    let mut namespaces = zone.reverse().uses(client).iter().filter(|(endpoint, _)| *endpoint);
    let mut known = false;
    let same = namespaces.any(|(_, key)| {
        known = true;
        labels(key.as_bytes()).nth(1).is_some_and(|own| own.eq_ignore_ascii_case(namespace))
    });
    known && !same
}

/// The labels of `name` in front of `end`, `None` when it does not end so or has none in front.
fn base<'n>(name: &'n [u8], end: &[u8]) -> Option<&'n [u8]> {
    is_within(name, end).then(|| &name[..name.len() - end.len()]).filter(|base| !base.is_empty())
}
