//! What the hot path may answer by itself, given the plugins that stand in front of `kubernetes`.

use std::net::IpAddr;

use super::ChainError;
use super::ask::is_within;
use super::block::Block;
use crate::corefile::{self, NameMatch, Rewrite, RewriteAction};
use crate::name::Name;
use crate::zone::{Suffix, ZoneConfig};

/// The configuration of the `kubernetes` plugin's zone, and of the one that the hot path answers from: `None` when every
/// query must pass the plugins.
pub(super) fn plan(
    configs: &[&corefile::Block],
    blocks: &[Block],
    own: &[IpAddr],
) -> Result<(ZoneConfig, Option<ZoneConfig>), ChainError> {
    let serving = configs.iter().zip(blocks);
    let serving = serving.filter_map(|(config, block)| Some((*config, block, config.kubernetes.as_ref()?)));
    let serving: Vec<_> = serving.collect();
    let Some((_, _, first)) = serving.first() else {
        return Ok((ZoneConfig::forward_only(), None));
    };
    let mut exact = zone_config(first, own);
    for (_, _, other) in &serving[1..] {
        if !first.differs_in_zones_only(other) {
            let (first, second) = (first.position.clone(), other.position.clone());
            return Err(ChainError::TwoClusters { first, second });
        }
        let known = exact.zones.clone();
        let more = zone_config(other, own).zones.into_iter();
        exact.zones.extend(more.filter(|zone| known.iter().all(|known| known.name() != zone.name())));
    }
    let routed = exact.zones.iter().all(|zone| {
        serving.iter().any(|(config, _, kubernetes)| {
            kubernetes.zones.contains(zone.name()) && routes_only_to(configs, config, zone.name())
        })
    });
    let quiet = serving.iter().all(|(config, block, kubernetes)| {
        stays_out(config, block, &kubernetes.zones) && (serving.len() == 1 || config.log.is_empty())
    });
    let plain = routed && quiet;
    let searched = serving.iter().any(|(config, ..)| config.autopath.is_some() || config.local);
    let bufsize = serving.iter().filter_map(|(config, ..)| config.bufsize).min();
    let hot = plain.then(|| {
        let mut hot = exact.clone();
        hot.udp_bytes_max = bufsize;
        if searched {
            // Names that do not exist come here, where others may know them.
            hot.zones.iter_mut().for_each(|suffix| *suffix = Suffix::of(suffix.name().clone(), true));
        }
        hot
    });
    Ok((exact, hot))
}

/// True when no plugin of the block says anything about the names of these zones that `kubernetes` does not.
fn stays_out(config: &corefile::Block, block: &Block, zones: &[Name]) -> bool {
    !config.any
        && !config.minimal
        && config.header.is_empty()
        && config.template.iter().all(|template| apart(&template.zones, zones))
        && config.rewrite.iter().all(|rule| leaves_alone(rule, zones))
        && hosts_leave_alone(block, zones)
}

fn zone_config(kubernetes: &corefile::Kubernetes, own: &[IpAddr]) -> ZoneConfig {
    let falls = |zone: &Name| kubernetes.fallthrough.iter().any(|through| zone.is_within(through));
    ZoneConfig {
        zones: kubernetes.zones.iter().map(|zone| Suffix::of(zone.clone(), falls(zone))).collect(),
        ttl: kubernetes.ttl,
        pods: kubernetes.pods,
        namespaces: kubernetes.namespaces.iter().cloned().collect(),
        ignore_empty_service: kubernetes.ignore_empty_service,
        endpoint_pod_names: kubernetes.endpoint_pod_names,
        udp_bytes_max: None,
        // As CoreDNS: loopback tells nobody which Service the name server is.
        local_addresses: own.iter().copied().filter(|address| !address.is_loopback()).collect(),
    }
}

/// True when every name of `zone` belongs to `block`.
fn routes_only_to(blocks: &[&corefile::Block], block: &corefile::Block, zone: &Name) -> bool {
    let longest = |keys: &[corefile::Key]| {
        let around = keys.iter().filter(|key| zone.is_within(&key.zone));
        around.map(|key| key.zone.label_count()).max()
    };
    let Some(own) = longest(&block.keys) else { return false };
    let others = || blocks.iter().filter(|other| other.position != block.position);
    others().all(|other| longest(&other.keys).is_none_or(|other| other < own))
        && others().all(|other| !other.keys.iter().any(|key| key.zone.is_within(zone)))
}

/// True when no name can be in a zone of each.
fn apart(ones: &[Name], others: &[Name]) -> bool {
    ones.iter().all(|one| others.iter().all(|other| !one.is_within(other) && !other.is_within(one)))
}

/// True when a rule certainly changes no name of these zones.
fn leaves_alone(rule: &Rewrite, zones: &[Name]) -> bool {
    let from = match &rule.action {
        RewriteAction::Name { from, .. } | RewriteAction::Ttl(from, ..) | RewriteAction::Rcode(from, ..) => {
            from
        }
        RewriteAction::Type(..) => return false,
    };
    match from {
        NameMatch::Exact(name) => {
            name.parse::<Name>().is_ok_and(|name| !zones.iter().any(|zone| name.is_within(zone)))
        }
        NameMatch::Suffix(end) => zones.iter().all(|zone| {
            let zone = zone.to_string();
            !zone.ends_with(&end[..]) && !end.ends_with(&zone[..])
        }),
        NameMatch::Prefix(_) | NameMatch::Substring(_) | NameMatch::Regex(_) => false,
    }
}

/// True when no line of the hosts file speaks about a name of these zones, and other names fall through. Lines that the
/// file gets later come after the names that the zone knows, until the configuration is read again.
fn hosts_leave_alone(block: &Block, zones: &[Name]) -> bool {
    let Some(hosts) = &block.hosts else { return true };
    let Some(config) = &block.config.hosts else { return true };
    zones.iter().all(|zone| {
        let falls = config.fallthrough.iter().any(|through| zone.is_within(through));
        apart(&config.zones, std::slice::from_ref(zone))
            || (falls && !hosts.any(|name| is_within(name, zone.as_wire())))
    })
}
