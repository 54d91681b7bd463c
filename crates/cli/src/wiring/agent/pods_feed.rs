//! API → pod table, for `pods verified`: which address is a pod of which namespace. Watched only when the Corefile wants it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use dns::zone::PodTable;
use futures::{FutureExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tracing::warn;

use super::names::Dns;

/// Events that one publication takes up at most.
const BURST_EVENTS_MAX: usize = 4096;

type Known = HashMap<(String, String), Vec<IpAddr>>;

/// Feeds the servers until the program ends.
pub(crate) async fn feed(client: Client, dns: Arc<Dns>) {
    let api: Api<Pod> = Api::all(client);
    let mut events = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let (mut known, mut listed) = (Known::new(), Known::new());
    let mut listing = false;
    while let Some(event) = events.next().await {
        let mut next = Some(event);
        for _ in 0..BURST_EVENTS_MAX {
            match next.take() {
                Some(Ok(event)) => take(event, &mut known, &mut listed, &mut listing),
                Some(Err(error)) => warn!("the watch of pods failed and is retried: {error}"),
                None => break,
            }
            next = events.next().now_or_never().flatten();
        }
        if !listing {
            dns.set_pods(table(&known));
        }
    }
}

fn take(event: Event<Pod>, known: &mut Known, listed: &mut Known, listing: &mut bool) {
    match event {
        Event::Init => (*listing, *listed) = (true, Known::new()),
        Event::InitApply(pod) => put(listed, &pod),
        Event::InitDone => (*listing, *known) = (false, std::mem::take(listed)),
        Event::Apply(pod) => put(known, &pod),
        Event::Delete(pod) => drop(known.remove(&key(&pod))),
    }
}

fn key(pod: &Pod) -> (String, String) {
    (pod.namespace().unwrap_or_default(), pod.name_any())
}

/// A pod that is going, or has ended, has no name.
fn put(known: &mut Known, pod: &Pod) {
    let status = pod.status.as_ref();
    let ended = status
        .and_then(|status| status.phase.as_deref())
        .is_some_and(|phase| matches!(phase, "Succeeded" | "Failed" | "Unknown"));
    if ended || pod.metadata.deletion_timestamp.is_some() {
        known.remove(&key(pod));
        return;
    }
    let addresses = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten();
    known.insert(key(pod), addresses.filter_map(|address| address.ip.parse().ok()).collect());
}

fn table(known: &Known) -> PodTable {
    let mut table = PodTable::default();
    for ((namespace, _), addresses) in known {
        addresses.iter().for_each(|address| table.insert(namespace, *address));
    }
    table
}
