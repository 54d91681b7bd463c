//! `kubernetes`.

use super::service::conflict;
use super::{Reader, Result};
use crate::corefile::config::Kubernetes;
use crate::corefile::token::Token;
use crate::corefile::tree::Directive;
use crate::name::Name;
use crate::zone::{Pods, Suffix};

/// CoreDNS's default lifetime of records, in seconds.
const TTL: u32 = 5;

pub(super) fn read(line: &Directive, reader: &mut Reader) -> Result<Kubernetes> {
    let zones = reader.zones_or_block(&line.arguments)?;
    if zones.iter().all(is_reverse) {
        return Err(line.missing("a zone that is no reverse zone, such as cluster.local"));
    }
    let mut kubernetes = Kubernetes {
        position: line.name.position.clone(),
        zones,
        endpoint: None,
        kubeconfig: None,
        tls: None,
        namespaces: Vec::new(),
        labels: None,
        namespace_labels: None,
        pods: Pods::Disabled,
        endpoint_pod_names: false,
        ttl: TTL,
        noendpoints: false,
        ignore_empty_service: false,
        fallthrough: Vec::new(),
    };
    for option in &line.block {
        read_option(&mut kubernetes, option, reader)?;
    }
    if !kubernetes.namespaces.is_empty() && kubernetes.namespace_labels.is_some() {
        return Err(conflict(line, "namespaces and namespace_labels exclude each other: keep one"));
    }
    Ok(kubernetes)
}

fn is_reverse(zone: &Name) -> bool {
    Suffix::of(zone.clone(), false).is_reverse()
}

fn read_option(kubernetes: &mut Kubernetes, option: &Directive, reader: &mut Reader) -> Result<()> {
    let words = || option.arguments.iter().map(|word| word.text.clone());
    match &option.name.text[..] {
        "endpoint" => kubernetes.endpoint = Some(option.only("the address of the API")?.text.clone()),
        "kubeconfig" => {
            option.at_most(2)?;
            let file = option.argument(0, "a file")?.text.clone().into();
            kubernetes.kubeconfig = Some((file, words().nth(1)));
        }
        "tls" => {
            option.at_most(3)?;
            let file = |index| option.argument(index, "a certificate, a key and an authority");
            let file = |index| file(index).map(|token: &Token| token.text.clone().into());
            kubernetes.tls = Some([file(0)?, file(1)?, file(2)?]);
        }
        "namespaces" => {
            option.some("the names of namespaces")?;
            kubernetes.namespaces.extend(words());
        }
        "labels" => {
            option.some("a label selector")?;
            kubernetes.labels = Some(words().collect::<Vec<_>>().join(" "));
        }
        "namespace_labels" => {
            option.some("a label selector")?;
            kubernetes.namespace_labels = Some(words().collect::<Vec<_>>().join(" "));
        }
        "pods" => {
            let modes =
                [("disabled", Pods::Disabled), ("insecure", Pods::Insecure), ("verified", Pods::Verified)];
            kubernetes.pods = option.only("disabled, insecure or verified")?.one_of(&modes)?;
        }
        "ttl" => kubernetes.ttl = option.only("seconds from 0 to 3600")?.number(0..=3600)?,
        "fallthrough" => kubernetes.fallthrough = option.zones_or_root(0)?,
        "ignore" => {
            option.only("empty_service")?.one_of(&[("empty_service", ())])?;
            kubernetes.ignore_empty_service = true;
        }
        _ => return read_rare_option(kubernetes, option, reader),
    }
    option.no_block()
}

fn read_rare_option(kubernetes: &mut Kubernetes, option: &Directive, reader: &mut Reader) -> Result<()> {
    match &option.name.text[..] {
        "endpoint_pod_names" => {
            option.bare()?;
            kubernetes.endpoint_pod_names = true;
        }
        "noendpoints" => {
            option.bare()?;
            kubernetes.noendpoints = true;
        }
        // Until it is synced the server says SERVFAIL at once instead of holding its start back.
        "startup_timeout" => drop(option.only("a duration")?.duration()?),
        "apiserver_qps" | "apiserver_burst" | "apiserver_max_inflight" => {
            reader.option(option, "kubernetes", "remove it; a watch asks the API once and then listens");
        }
        "zonal" => reader.option(option, "kubernetes", "remove it; names of zones are not served yet"),
        "multicluster" => {
            reader.option(option, "kubernetes", "remove it; names of other clusters are not served yet");
        }
        _ => {
            let known = "endpoint, kubeconfig, tls, namespaces, labels, namespace_labels, pods, endpoint_pod_names, \
                         ttl, noendpoints, fallthrough, ignore empty_service";
            return Err(option.unknown("kubernetes", known));
        }
    }
    Ok(())
}
